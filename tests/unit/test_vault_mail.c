/* What the vault knows for messages: which key opens, which signs, what it believes of
 * the ledger; and what holds for every operation that uses a key. */
#include "../../keyd/ops/mail.h"
#include "../support/test.h"
#include "../support/vault_world.h"

#include <dime/fingerprint.h>
#include <keyd/base/clock.h>
#include <keyd/base/memfd.h>
#include <keyd/base/secret.h>

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define COM "example.com"
#define ORG "example.org"

static struct kd_key_info pok, sok, enc;
static size_t com;

static int
begin(void **state)
{
    (void)state;
    vault_world_new();
    vault.chain.epoch = 1;
    pok = new_key(COM, KD_KEY_ROLE_POK, 0);
    sok = new_key(COM, KD_KEY_ROLE_SOK, KD_PERM_SIGNET | KD_PERM_MESSAGE);
    enc = new_key(COM, KD_KEY_ROLE_ENC, 0);
    com = set_org(COM, &pok, &sok, &enc);
    return 0;
}

static int
end(void **state)
{
    (void)state;
    vault_world_free();
    return 0;
}

static void
finish(struct task *t)
{
    task_finish(&vault, t, KD_OK, 0);
}

static bool
is_key(const struct kd_key_id *id, const struct kd_key_info *key)
{
    return memcmp(id, &key->id, sizeof *id) == 0;
}

static uint64_t
ago(uint64_t seconds)
{
    return (uint64_t)kd_clock_wall_ms() - seconds * 1000;
}

/* --- openers --- */

struct prints {
    uint8_t full[64], core[64];
};

/* A former signet of the domain with these keys. */
static struct prints
add_former(const char *domain, const struct kd_key_info *by,
           const struct kd_key_info *key, uint64_t superseded_ms)
{
    struct dime_signet s;
    struct prints p;
    enum dime_reason why;
    struct kd_buf b;

    kd_buf_init(&b, DIME_SIGNET_MAX);
    make_org(domain, by, NULL, key, &b);
    assert_int_equal(
        vault_org_former(&vault, kd_slice_str(domain), kd_buf_slice(&b), superseded_ms),
        KD_OK);
    assert_int_equal(dime_signet_parse(kd_buf_slice(&b), &s, &why), KD_OK);
    assert_int_equal(dime_fingerprint(&s, DIME_PART_FULL, p.full), KD_OK);
    assert_int_equal(dime_fingerprint(&s, DIME_PART_CORE, p.core), KD_OK);
    kd_buf_free(&b);
    vault_keys_refresh(&vault);
    return p;
}

static kd_err
find(uint32_t uid, const uint8_t *fp, struct vault_opener *out)
{
    struct task *t = new_task(uid, KD_OP_IssueUserSignet);
    kd_err err = vault_opener_find(t, com, fp, out);

    finish(t);
    return err;
}

static void
the_current_key_opens_by_either_fingerprint_and_by_none(void **state)
{
    const struct vault_org *org = vault.orgs[com];
    const uint8_t unknown[64] = {1};
    struct vault_opener o;

    (void)state;
    const uint8_t *const by[] = {NULL, org->full, org->core};
    for (size_t i = 0; i < 3; i++) {
        memset(&o, 0xff, sizeof o);
        assert_int_equal(find(ANYBODY, by[i], &o), KD_OK);
        assert_true(is_key(&o.id, &enc));
        assert_int_equal(o.superseded_ms, 0);
        assert_memory_equal(o.full, org->full, 64);
        assert_memory_equal(o.core, org->core, 64);
    }
    assert_int_equal(find(ANYBODY, unknown, &o), KD_NOT_FOUND);
}

static void
a_former_key_opens_for_its_retention_and_no_longer(void **state)
{
    enum { RETENTION = 71 * 24 * 3600 };
    struct kd_key_info young = new_key(COM, KD_KEY_ROLE_ENC, 0);
    struct kd_key_info old = new_key(COM, KD_KEY_ROLE_ENC, 0);
    struct kd_key_info future = new_key(COM, KD_KEY_ROLE_ENC, 0);
    struct vault_opener o;

    (void)state;
    struct prints in = add_former(COM, &pok, &young, ago(RETENTION - 60));
    struct prints out = add_former(COM, &pok, &old, ago(RETENTION + 1));
    struct prints ahead = add_former(COM, &pok, &future, ago(0) + 600 * 1000);
    set_state(&young, KD_KEY_RETAINED);
    vault_keys_refresh(&vault);
    assert_int_equal(find(ANYBODY, in.full, &o), KD_OK);
    assert_true(is_key(&o.id, &young));
    assert_true(o.superseded_ms != 0);
    assert_memory_equal(o.core, in.core, 64);
    assert_int_equal(find(ANYBODY, in.core, &o), KD_OK);
    assert_true(is_key(&o.id, &young));
    assert_int_equal(find(ANYBODY, out.full, &o), KD_NOT_FOUND);
    assert_int_equal(find(ANYBODY, out.core, &o), KD_NOT_FOUND);
    assert_int_equal(find(ANYBODY, ahead.full, &o), KD_OK); /* the clock went back */
    /* of another domain it is no key at all */
    struct task *t = new_task(ANYBODY, KD_OP_IssueUserSignet);
    struct kd_key_info pok2 = new_key(ORG, KD_KEY_ROLE_POK, 0);
    struct kd_key_info enc2 = new_key(ORG, KD_KEY_ROLE_ENC, 0);
    size_t org = set_org(ORG, &pok2, NULL, &enc2);
    assert_int_equal(vault_opener_find(t, org, in.full, &o), KD_NOT_FOUND);
    assert_int_equal(vault_opener_find(t, org, vault.orgs[com]->full, &o),
                     KD_NOT_FOUND);
    finish(t);
}

static void
what_is_revoked_or_not_ours_opens_nothing(void **state)
{
    struct kd_key_info bad_pok = new_key(COM, KD_KEY_ROLE_POK, 0);
    struct kd_key_info gone = new_key(COM, KD_KEY_ROLE_ENC, 0);
    struct kd_key_info lost = new_key(COM, KD_KEY_ROLE_ENC, 0);
    struct kd_key_info elsewhere = new_key(ORG, KD_KEY_ROLE_ENC, 0);
    struct vault_opener o;

    (void)state;
    struct prints by_bad = add_former(COM, &bad_pok, &gone, ago(10));
    struct prints with_lost = add_former(COM, &pok, &lost, ago(10));
    struct prints with_other = add_former(COM, &pok, &elsewhere, ago(10));
    assert_int_equal(find(ANYBODY, by_bad.full, &o), KD_OK);
    assert_int_equal(find(ANYBODY, with_lost.full, &o), KD_OK);
    assert_int_equal(find(ANYBODY, with_other.full, &o), KD_NOT_FOUND);
    set_state(&bad_pok, KD_KEY_REVOKED);
    set_state(&lost, KD_KEY_REVOKED);
    vault_keys_refresh(&vault);
    assert_int_equal(find(ANYBODY, by_bad.full, &o), KD_NOT_FOUND);
    assert_int_equal(find(ANYBODY, with_lost.full, &o), KD_NOT_FOUND);
    /* a current signet whose key is revoked: no such recipient key */
    set_state(&enc, KD_KEY_REVOKED);
    vault_keys_refresh(&vault);
    assert_int_equal(find(ANYBODY, NULL, &o), KD_UNAVAILABLE);
    assert_int_equal(find(ANYBODY, vault.orgs[com]->full, &o), KD_NOT_FOUND);
}

/* Who may not have it used learns of keys only what everybody may: which there are. */
static void
policy_decides_after_it_is_known_whether_there_is_a_key(void **state)
{
    const uint8_t unknown[64] = {1};
    struct vault_opener o = {.superseded_ms = 77};

    (void)state;
    assert_int_equal(find(ONLY_SOK, unknown, &o), KD_NOT_FOUND);
    assert_int_equal(find(ONLY_SOK, NULL, &o), KD_DENIED);
    assert_int_equal(find(ONLY_SOK, vault.orgs[com]->full, &o), KD_DENIED);
    assert_int_equal(o.superseded_ms, 77);
    struct kd_token *token = vault.token;
    vault.token = NULL;
    assert_int_equal(find(ANYBODY, NULL, &o), KD_SEALED);
    vault_keys_refresh(&vault);
    vault.token = token;
    assert_int_equal(find(ANYBODY, NULL, &o), KD_UNAVAILABLE); /* not refreshed */
    vault_keys_refresh(&vault);
    assert_int_equal(find(ANYBODY, NULL, &o), KD_OK);
}

static void
a_signet_that_is_replaced_is_a_former_one_from_then_on(void **state)
{
    struct kd_key_info next = new_key(COM, KD_KEY_ROLE_ENC, 0);
    struct vault_opener o;
    uint8_t before[64];

    (void)state;
    memcpy(before, vault.orgs[com]->full, sizeof before);
    vault_org_supersede(&vault, kd_slice_str(COM), ago(5));
    set_org(COM, &pok, &sok, &next);
    assert_int_equal(find(ANYBODY, NULL, &o), KD_OK);
    assert_true(is_key(&o.id, &next));
    assert_int_equal(find(ANYBODY, before, &o), KD_OK);
    assert_true(is_key(&o.id, &enc));
    assert_true(o.superseded_ms != 0);
    /* and when it comes back it is the current one */
    vault_org_supersede(&vault, kd_slice_str(COM), ago(3));
    set_org(COM, &pok, &sok, &enc);
    assert_memory_equal(before, vault.orgs[com]->full, sizeof before);
    assert_int_equal(find(ANYBODY, before, &o), KD_OK);
    assert_int_equal(o.superseded_ms, 0);
    assert_int_equal(vault.orgs[com]->n_formers, 2);
    vault_org_supersede(&vault, kd_slice_str("unknown.example"), ago(3));
}

static void
the_other_openers_come_newest_first_and_each_once(void **state)
{
    struct kd_key_info a = new_key(COM, KD_KEY_ROLE_ENC, 0);
    struct kd_key_info b = new_key(COM, KD_KEY_ROLE_ENC, 0);
    struct kd_key_info c = new_key(COM, KD_KEY_ROLE_ENC, 0);
    struct vault_opener first, out[4];
    struct task *t = new_task(ANYBODY, KD_OP_IssueUserSignet);

    (void)state;
    add_former(COM, &pok, &b, ago(2000));
    struct prints of_a = add_former(COM, &pok, &a, ago(1000));
    add_former(COM, &pok, &c, ago(72 * 24 * 3600)); /* over */
    struct kd_key_info pok2 = new_key(COM, KD_KEY_ROLE_POK, 0);
    add_former(COM, &pok2, &a, ago(3000)); /* the same key in another signet */
    assert_int_equal(vault_opener_find(t, com, NULL, &first), KD_OK);
    assert_int_equal(vault_openers_beside(t, com, &first, out, 4), 2);
    assert_true(is_key(&out[0].id, &a) && is_key(&out[1].id, &b));
    assert_int_equal(vault_openers_beside(t, com, &first, out, 1), 1);
    assert_true(is_key(&out[0].id, &a));
    assert_int_equal(vault_openers_beside(t, com, &first, out, 0), 0);
    assert_int_equal(vault_opener_find(t, com, of_a.full, &first), KD_OK);
    assert_int_equal(vault_openers_beside(t, com, &first, out, 4), 2);
    assert_true(is_key(&out[0].id, &enc) && is_key(&out[1].id, &b));
    finish(t);
    t = new_task(ONLY_SOK, KD_OP_IssueUserSignet);
    assert_int_equal(vault_openers_beside(t, com, &first, out, 4), 0);
    finish(t);
}

static void
what_a_ledger_calls_former_must_hold(void **state)
{
    struct kd_slice domain = kd_slice_str(COM);
    struct kd_buf b;

    (void)state;
    kd_buf_init(&b, DIME_SIGNET_MAX);
    make_org(COM, &pok, &sok, &enc, &b);
    for (size_t i = 0; i < b.n; i++) {
        b.p[i] ^= 1;
        assert_int_not_equal(vault_org_former(&vault, domain, kd_buf_slice(&b), 1),
                             KD_OK);
        b.p[i] ^= 1;
        assert_int_not_equal(vault_org_former(&vault, domain, kd_slice(b.p, i), 1),
                             KD_OK);
    }
    assert_int_equal(vault_org_former(&vault, kd_slice_str(ORG), kd_buf_slice(&b), 1),
                     KD_INVALID);
    kd_buf_reset(&b);
    make_user("alice@" COM, 1, &sok, &b);
    assert_int_not_equal(vault_org_former(&vault, domain, kd_buf_slice(&b), 1), KD_OK);
    assert_int_equal(vault.orgs[com]->n_formers, 0);
    kd_buf_free(&b);
}

/* Whatever there are of them, those superseded last stay. */
static void
former_signets_are_bounded_by_number(void **state)
{
    struct vault_opener o;
    struct prints first = {{0}, {0}}, last = first;

    (void)state;
    for (unsigned i = 0; i < VAULT_FORMERS_MAX + 8; i++) {
        struct kd_key_info key = new_key(COM, KD_KEY_ROLE_ENC, 0);
        last = add_former(COM, &pok, &key, ago(100000) + i);
        if (i == 0)
            first = last;
    }
    assert_int_equal(vault.orgs[com]->n_formers, VAULT_FORMERS_MAX);
    assert_int_equal(find(ANYBODY, first.full, &o), KD_NOT_FOUND);
    assert_int_equal(find(ANYBODY, last.full, &o), KD_OK);
    /* one that is older than all of them takes no place */
    add_former(COM, &pok, &enc, ago(200000));
    assert_int_equal(find(ANYBODY, last.full, &o), KD_OK);
}

/* --- message signers --- */

static kd_err
signer(uint32_t uid, size_t org, struct kd_key_id *out)
{
    struct task *t = new_task(uid, KD_OP_IssueUserSignet);
    kd_err err = vault_mail_signer(t, org, out);

    finish(t);
    return err;
}

static void
a_secondary_key_signs_messages_unless_the_domain_says_pok(void **state)
{
    struct kd_key_info pok2 = new_key(ORG, KD_KEY_ROLE_POK, KD_PERM_MESSAGE);
    struct kd_key_info sok2 = new_key(ORG, KD_KEY_ROLE_SOK, KD_PERM_MESSAGE);
    struct kd_key_info enc2 = new_key(ORG, KD_KEY_ROLE_ENC, 0);
    struct kd_key_id id;

    (void)state;
    size_t org = set_org(ORG, &pok2, &sok2, &enc2);
    assert_int_equal(signer(ANYBODY, com, &id), KD_OK);
    assert_true(is_key(&id, &sok));
    assert_int_equal(signer(ONLY_SOK, com, &id), KD_OK);
    assert_int_equal(signer(ONLY_POK, com, &id), KD_DENIED);
    assert_int_equal(signer(ANYBODY, org, &id), KD_OK);
    assert_true(is_key(&id, &pok2));
    assert_int_equal(signer(ONLY_POK, org, &id), KD_OK);
    assert_int_equal(signer(ONLY_SOK, org, &id), KD_DENIED);
    /* a key that may sign user signets alone is none */
    struct kd_key_info users = new_key(COM, KD_KEY_ROLE_SOK, KD_PERM_SIGNET);
    set_org(COM, &pok, &users, &enc);
    assert_int_equal(signer(ANYBODY, com, &id), KD_UNAVAILABLE);
    /* nor one that the signet does not list, nor one that is retired */
    set_org(COM, &pok, NULL, &enc);
    assert_int_equal(signer(ANYBODY, com, &id), KD_UNAVAILABLE);
    set_org(COM, &pok, &sok, &enc);
    set_state(&sok, KD_KEY_RETAINED);
    vault_keys_refresh(&vault);
    assert_int_equal(signer(ANYBODY, com, &id), KD_UNAVAILABLE);
}

static void
only_the_signets_own_primary_key_signs_as_such(void **state)
{
    struct kd_key_info bare = new_key(ORG, KD_KEY_ROLE_POK, 0);
    struct kd_key_info other = new_key(ORG, KD_KEY_ROLE_POK, KD_PERM_MESSAGE);
    struct kd_key_info enc2 = new_key(ORG, KD_KEY_ROLE_ENC, 0);
    struct kd_key_id id;

    (void)state;
    size_t org = set_org(ORG, &bare, NULL, &enc2); /* without the bit */
    assert_int_equal(signer(ANYBODY, org, &id), KD_UNAVAILABLE);
    set_org(ORG, &bare, &other, &enc2); /* as a secondary key of the signet */
    assert_int_equal(signer(ANYBODY, org, &id), KD_UNAVAILABLE);
    set_org(ORG, &other, NULL, &enc2);
    assert_int_equal(signer(ANYBODY, org, &id), KD_OK);
    assert_true(is_key(&id, &other));
}

static void
a_signature_may_be_by_any_message_key_that_is_not_revoked(void **state)
{
    struct kd_key_info old = new_key(COM, KD_KEY_ROLE_SOK, KD_PERM_MESSAGE);
    struct kd_key_info bad = new_key(COM, KD_KEY_ROLE_SOK, KD_PERM_MESSAGE);
    const uint8_t(*keys)[32];

    (void)state;
    new_key(ORG, KD_KEY_ROLE_SOK, KD_PERM_MESSAGE);
    set_state(&old, KD_KEY_RETAINED);
    set_state(&bad, KD_KEY_REVOKED);
    vault_keys_refresh(&vault);
    assert_int_equal(vault_mail_keys(&vault, com, &keys), 2);
    assert_memory_equal(keys[0], sok.public_key, 32); /* the one in use first */
    assert_memory_equal(keys[1], old.public_key, 32);
    struct kd_key_info next = new_key(COM, KD_KEY_ROLE_SOK, KD_PERM_MESSAGE);
    set_org(COM, &pok, &next, &enc);
    assert_int_equal(vault_mail_keys(&vault, com, &keys), 3);
    assert_memory_equal(keys[0], next.public_key, 32);
}

static void
every_encryption_key_of_ours_is_listed_whatever_its_state(void **state)
{
    struct kd_key_info gone = new_key(COM, KD_KEY_ROLE_ENC, 0);
    const uint8_t(*keys)[33];

    (void)state;
    set_state(&gone, KD_KEY_REVOKED);
    vault_keys_refresh(&vault);
    assert_int_equal(vault_enc_keys(&vault, &keys), 2);
    assert_memory_equal(keys[0], enc.public_key, 33);
    assert_memory_equal(keys[1], gone.public_key, 33);
}

/* --- what is missing --- */

static uint64_t
reasons(void)
{
    const uint64_t of_mail =
        kd_state_bit(KD_STATE_NO_MESSAGE_KEY) | kd_state_bit(KD_STATE_NO_OPENING_KEY);
    struct vault_facts facts;

    vault_facts(&vault, &facts);
    return facts.reasons & of_mail;
}

static void
a_domain_whose_messages_no_key_may_sign_is_told_of(void **state)
{
    const uint64_t lacks = kd_state_bit(KD_STATE_NO_MESSAGE_KEY);

    (void)state;
    assert_int_equal(reasons(), 0);
    assert_int_equal(events_since(EVENT_NO_MESSAGE_KEY), 0);
    set_state(&sok, KD_KEY_RETAINED);
    vault_keys_refresh(&vault);
    assert_int_equal(reasons(), lacks);
    assert_int_equal(events_since(EVENT_NO_MESSAGE_KEY), 1);
    /* once, however often it is looked at */
    vault_keys_refresh(&vault);
    vault_tell_lacks(&vault);
    assert_int_equal(reasons(), lacks);
    assert_int_equal(events_since(EVENT_NO_MESSAGE_KEY), 0);
    /* a key that the signet does not list, or that signs users alone, is none */
    struct kd_key_info next = new_key(COM, KD_KEY_ROLE_SOK, KD_PERM_MESSAGE);
    struct kd_key_info users = new_key(COM, KD_KEY_ROLE_SOK, KD_PERM_SIGNET);
    vault_keys_refresh(&vault);
    assert_int_equal(reasons(), lacks);
    set_org(COM, &pok, &users, &enc);
    assert_int_equal(reasons(), lacks);
    set_org(COM, &pok, &next, &enc);
    assert_int_equal(reasons(), 0);
    assert_int_equal(events_since(EVENT_NO_MESSAGE_KEY), 0);
    /* it was there, and is missed again */
    set_org(COM, &pok, NULL, &enc);
    assert_int_equal(reasons(), lacks);
    assert_int_equal(events_since(EVENT_NO_MESSAGE_KEY), 1);
    /* sealed, nobody knows; opened again, it is said again */
    struct kd_token *token = vault.token;
    vault.token = NULL;
    vault_keys_refresh(&vault);
    assert_int_equal(reasons(), 0);
    vault.token = token;
    vault_keys_refresh(&vault);
    assert_int_equal(reasons(), lacks);
    assert_int_equal(events_since(EVENT_NO_MESSAGE_KEY), 1);
}

/* Mail of example.org is only opened: who never asks for a signature misses none. */
static void
a_domain_lacks_only_what_front_ends_may_ask_for(void **state)
{
    struct kd_key_info pok2 = new_key(ORG, KD_KEY_ROLE_POK, 0);
    struct kd_key_info enc2 = new_key(ORG, KD_KEY_ROLE_ENC, 0);

    (void)state;
    set_org(ORG, &pok2, NULL, &enc2);
    assert_int_equal(reasons(), 0);
    assert_int_equal(events_since(EVENT_NO_MESSAGE_KEY), 0);
}

static void
a_message_signer_of_the_other_kind_is_none(void **state)
{
    struct vault_conf *c = vault.conf;
    size_t i;

    (void)state;
    assert_int_equal(kd_policy_domain_find(c->is.policy, kd_slice_str(COM), &i), KD_OK);
    c->is.rules[i].message_signer = KD_MESSAGE_SIGNER_POK;
    assert_int_equal(reasons(), kd_state_bit(KD_STATE_NO_MESSAGE_KEY));
    struct kd_key_info pok2 = new_key(COM, KD_KEY_ROLE_POK, KD_PERM_MESSAGE);
    set_org(COM, &pok2, &sok, &enc);
    assert_int_equal(reasons(), 0);
    set_org(COM, &pok2, NULL, &enc);
    assert_int_equal(reasons(), 0);
    c->is.rules[i].message_signer = KD_MESSAGE_SIGNER_SOK;
    assert_int_equal(reasons(), kd_state_bit(KD_STATE_NO_MESSAGE_KEY));
}

static void
a_domain_whose_mail_no_key_opens_is_told_of(void **state)
{
    const uint64_t lacks = kd_state_bit(KD_STATE_NO_OPENING_KEY);
    struct kd_key_info elsewhere = new_key(ORG, KD_KEY_ROLE_ENC, 0);

    (void)state;
    set_state(&enc, KD_KEY_RETAINED); /* opens all the same */
    vault_keys_refresh(&vault);
    assert_int_equal(reasons(), 0);
    assert_int_equal(events_since(EVENT_NO_OPENING_KEY), 0);
    set_state(&enc, KD_KEY_REVOKED);
    vault_keys_refresh(&vault);
    assert_int_equal(reasons(), lacks);
    assert_int_equal(events_since(EVENT_NO_OPENING_KEY), 1);
    set_org(COM, &pok, &sok, &elsewhere); /* another domain's key */
    assert_int_equal(reasons(), lacks);
    struct kd_key_info next = new_key(COM, KD_KEY_ROLE_ENC, 0);
    set_org(COM, &pok, &sok, &next);
    assert_int_equal(reasons(), 0);
    /* Without a good signet it is the signet that is missing. */
    set_state(&pok, KD_KEY_REVOKED);
    set_state(&next, KD_KEY_REVOKED);
    vault_keys_refresh(&vault);
    assert_int_equal(reasons(), 0);
    assert_int_equal(events_since(EVENT_NO_OPENING_KEY), 0);
}

/* --- what the ledger says --- */

#define ALICE "alice@" COM

struct lie {
    struct mail_authors authors;
    struct task *task;
    struct kd_buf list, body;
    struct kd_told_author m;
    uint8_t account[64];
};

static struct kd_slice
account_octets(uint8_t octets[64], uint8_t account_state)
{
    const struct kd_account_part part = {.state = account_state, .generation = 1};
    struct kd_buf b;

    kd_buf_init(&b, 64);
    kd_account_part_put(&b, &part);
    memcpy(octets, b.p, b.n);
    struct kd_slice s = kd_slice(octets, b.n);
    kd_buf_free(&b);
    return s;
}

static void
asked(struct vault *v, struct task *t)
{
    (void)v;
    (void)t;
}

static void
lie_begin(struct lie *l)
{
    memset(l, 0, sizeof *l);
    l->task = new_task(ANYBODY, KD_OP_IssueUserSignet);
    mail_ask_author(&vault, l->task, kd_slice_str(ALICE), 3600, &l->authors, asked);
    assert_in_range(l->authors.since_ms, ago(3601), ago(3599));
    struct kd_ask_author ask;
    assert_int_equal(kd_ask_author_get(kd_buf_slice(&l->task->ask), &ask), KD_OK);
    assert_true(kd_slice_eq(ask.address, kd_slice_str(ALICE)));
    assert_int_equal(ask.since, l->authors.since_ms);
    assert_int_equal(ask.tag, l->task->tag);
    kd_buf_init(&l->list, KD_AUTHOR_OCTETS_MAX);
    kd_buf_init(&l->body, KD_CHAN_BODY_MAX);
    l->m.account = account_octets(l->account, KD_ACCOUNT_OPEN);
}

static void
lie_add(struct lie *l, const char *address, unsigned person,
        const struct kd_key_info *by, uint64_t superseded_ms)
{
    struct kd_told_signet m = {.superseded = superseded_ms};
    struct kd_buf signet, one;

    kd_buf_init(&signet, DIME_SIGNET_MAX);
    kd_buf_init(&one, DIME_SIGNET_MAX);
    make_user(address, person, by, &signet);
    m.signet = kd_buf_slice(&signet);
    kd_told_signet_put(&one, &m);
    kd_list_put(&l->list, kd_buf_slice(&one));
    kd_buf_free(&signet);
    kd_buf_free(&one);
}

/* What the vault makes of it: on the main thread, then on a crypto thread. */
static kd_err
lie_tell(struct lie *l, int fd)
{
    if (fd < 0)
        l->m.signets = kd_buf_slice(&l->list);
    kd_buf_reset(&l->body);
    kd_told_author_put(&l->body, &l->m);
    l->task->told = kd_buf_slice(&l->body);
    l->task->told_fd = fd;
    kd_err err = mail_told_author(l->task, &l->authors);
    /* the octets of the answer end with the step */
    memset(l->body.p, 0xa5, l->body.n);
    l->task->told = kd_slice(NULL, 0);
    if (err == KD_OK)
        err = mail_authors_believe(l->task, com, kd_slice_str(ALICE), &l->authors);
    if (err != KD_OK)
        assert_int_equal(l->authors.n, 0);
    return err;
}

static void
lie_end(struct lie *l)
{
    mail_authors_free(&l->authors);
    kd_buf_free(&l->list);
    kd_buf_free(&l->body);
    finish(l->task);
}

static void
the_truth_about_an_author_is_taken(void **state)
{
    struct kd_key_info before = new_key(COM, KD_KEY_ROLE_SOK, KD_PERM_SIGNET);
    struct lie l;
    int fd;

    (void)state;
    vault_keys_refresh(&vault);
    lie_begin(&l);
    lie_add(&l, ALICE, 3, &sok, 0);
    lie_add(&l, ALICE, 3, &before, 0); /* signed anew since */
    lie_add(&l, ALICE, 2, &sok, ago(10));
    lie_add(&l, ALICE, 1, &sok, ago(20));
    assert_int_equal(lie_tell(&l, -1), KD_OK);
    assert_int_equal(l.authors.n, 4);
    assert_int_equal(l.authors.account.state, KD_ACCOUNT_OPEN);
    assert_int_equal(l.authors.list[1].superseded_ms, 0);
    assert_true(l.authors.list[2].superseded_ms > l.authors.list[3].superseded_ms);
    for (size_t i = 0; i < 4; i++) {
        struct dime_signet s;
        enum dime_reason why;
        uint8_t full[64], core[64];
        assert_int_equal(
            dime_signet_parse_as(DIME_USER, l.authors.list[i].signet, &s, &why), KD_OK);
        assert_int_equal(dime_fingerprint(&s, DIME_PART_FULL, full), KD_OK);
        assert_int_equal(dime_fingerprint(&s, DIME_PART_CORE, core), KD_OK);
        assert_memory_equal(full, l.authors.list[i].full, 64);
        assert_memory_equal(core, l.authors.list[i].core, 64);
    }
    /* the same as a descriptor */
    assert_int_equal(kd_memfd_seal(kd_buf_slice(&l.list), &fd), KD_OK);
    l.m.signets = kd_slice(NULL, 0);
    assert_int_equal(lie_tell(&l, fd), KD_OK);
    assert_int_equal(l.authors.n, 4);
    lie_end(&l);
    /* nobody has a signet */
    lie_begin(&l);
    assert_int_equal(lie_tell(&l, -1), KD_OK);
    assert_int_equal(l.authors.n, 0);
    lie_end(&l);
}

static void
told_is_refused(struct lie *l, int fd, unsigned reason)
{
    assert_int_equal(lie_tell(l, fd), KD_UNAVAILABLE);
    assert_int_equal(l->task->reason, reason);
    lie_end(l);
}

static void
what_makes_no_sense_about_an_author_is_refused(void **state)
{
    struct lie l;
    int fd;

    (void)state;
    for (unsigned i = 0; i < 9; i++) {
        lie_begin(&l);
        if (i != 3)
            lie_add(&l, ALICE, 1, &sok, 0);
        if (i == 0)
            l.m.err = KD_INVALID;
        else if (i == 1)
            l.m.account = kd_slice_str("no account");
        else if (i == 2)
            kd_buf_u8(&l.list, 0);
        else if (i == 3) /* none is current */
            lie_add(&l, ALICE, 1, &sok, ago(10));
        else if (i == 4) /* longer ago than was asked for */
            lie_add(&l, ALICE, 2, &sok, ago(3700));
        else if (i == 5) { /* current after former */
            lie_add(&l, ALICE, 2, &sok, ago(10));
            lie_add(&l, ALICE, 3, &sok, 0);
        } else if (i == 6) { /* later before earlier */
            lie_add(&l, ALICE, 2, &sok, ago(20));
            lie_add(&l, ALICE, 3, &sok, ago(10));
        } else if (i == 7) {
            for (unsigned k = 0; k < KD_AUTHOR_SIGNETS; k++)
                lie_add(&l, ALICE, 1, &sok, 0);
        } else {
            (void)account_octets(l.account, 77);
        }
        told_is_refused(&l, -1, KD_REASON_NO_LEDGER);
    }
    /* both ways at once; a descriptor that is none of ours; one that is too large */
    lie_begin(&l);
    lie_add(&l, ALICE, 1, &sok, 0);
    assert_int_equal(kd_memfd_seal(kd_buf_slice(&l.list), &fd), KD_OK);
    l.m.signets = kd_buf_slice(&l.list);
    told_is_refused(&l, fd, KD_REASON_NO_LEDGER);
    int fds[2];
    assert_int_equal(pipe(fds), 0);
    close(fds[1]);
    lie_begin(&l);
    told_is_refused(&l, fds[0], KD_REASON_NO_LEDGER);
    uint8_t *large = calloc(1, KD_AUTHOR_OCTETS_MAX + 1);
    assert_non_null(large);
    assert_int_equal(kd_memfd_seal(kd_slice(large, KD_AUTHOR_OCTETS_MAX + 1), &fd),
                     KD_OK);
    free(large);
    lie_begin(&l);
    told_is_refused(&l, fd, KD_REASON_NO_LEDGER);
}

/* Whoever has large signets issued and sends much mail. */
static void
large_signets_of_authors_are_held_in_bounded_memory(void **state)
{
    enum { FIT = MAIL_AUTHORS_HELD_MAX / KD_AUTHOR_OCTETS_MAX };
    static struct lie l[FIT + 1];
    uint8_t *large = calloc(1, KD_AUTHOR_OCTETS_MAX);
    int fd;

    (void)state;
    assert_non_null(large);
    for (unsigned round = 0; round < 2; round++) {
        for (unsigned i = 0; i <= FIT; i++) {
            lie_begin(&l[i]);
            assert_int_equal(kd_memfd_seal(kd_slice(large, KD_AUTHOR_OCTETS_MAX), &fd),
                             KD_OK);
            /* those that fit are read, and are none */
            assert_int_equal(lie_tell(&l[i], fd), i < FIT ? KD_UNAVAILABLE : KD_BUSY);
            assert_int_equal(mail_authors_are_large(&l[i].authors), i < FIT);
        }
        /* small ones are not kept out */
        struct lie small;
        lie_begin(&small);
        lie_add(&small, ALICE, 1, &sok, 0);
        assert_int_equal(lie_tell(&small, -1), KD_OK);
        assert_false(mail_authors_are_large(&small.authors));
        lie_end(&small);
        for (unsigned i = 0; i <= FIT; i++)
            lie_end(&l[i]);
        assert_int_equal(vault.author_octets, 0);
    }
    free(large);
}

static void
an_authors_signet_counts_only_if_it_is_ours_and_the_authors(void **state)
{
    struct kd_key_info pok2 = new_key(ORG, KD_KEY_ROLE_POK, 0);
    struct kd_key_info sok2 = new_key(ORG, KD_KEY_ROLE_SOK, KD_PERM_SIGNET);
    struct kd_key_info enc2 = new_key(ORG, KD_KEY_ROLE_ENC, 0);
    struct kd_key_info old = new_key(COM, KD_KEY_ROLE_SOK, KD_PERM_SIGNET);
    struct lie l;

    (void)state;
    set_org(ORG, &pok2, &sok2, &enc2);
    vault_keys_refresh(&vault);
    for (unsigned i = 0; i < 4; i++) {
        lie_begin(&l);
        if (i == 0) /* another domain's key */
            lie_add(&l, ALICE, 1, &sok2, 0);
        else if (i == 1)
            lie_add(&l, "mallory@" COM, 1, &sok, 0);
        else if (i == 2) {
            lie_add(&l, ALICE, 1, &sok, 0);
            l.list.p[l.list.n - 1] ^= 1; /* of field 255 */
        } else {                         /* a good former one does not make up for it */
            lie_add(&l, "mallory@" COM, 1, &sok, 0);
            lie_add(&l, ALICE, 2, &sok, ago(10));
        }
        told_is_refused(&l, -1, KD_REASON_STORED_DIFFERS);
    }
    /* a former one by a key that was revoked since is left out, as is a stranger's */
    lie_begin(&l);
    lie_add(&l, ALICE, 4, &sok, 0);
    lie_add(&l, ALICE, 3, &old, ago(10));
    lie_add(&l, "mallory@" COM, 2, &sok, ago(20));
    lie_add(&l, ALICE, 1, &sok, ago(30));
    assert_int_equal(lie_tell(&l, -1), KD_OK);
    assert_int_equal(l.authors.n, 3);
    set_state(&old, KD_KEY_REVOKED);
    vault_keys_refresh(&vault);
    assert_int_equal(lie_tell(&l, -1), KD_OK);
    assert_int_equal(l.authors.n, 2);
    assert_in_range(l.authors.list[1].superseded_ms, ago(31), ago(29));
    lie_end(&l);
}

/* Every octet of an answer, changed: sense, or refused; never more than was asked. */
static void
an_answer_that_was_bent_anywhere_is_harmless(void **state)
{
    struct lie l;
    struct kd_buf body;

    (void)state;
    lie_begin(&l);
    lie_add(&l, ALICE, 2, &sok, 0);
    lie_add(&l, ALICE, 1, &sok, ago(10));
    l.m.signets = kd_buf_slice(&l.list);
    kd_buf_init(&body, KD_CHAN_BODY_MAX);
    kd_told_author_put(&body, &l.m);
    unsigned taken = 0;
    for (size_t i = 0; i < body.n; i++) {
        body.p[i] ^= 0x81;
        l.task->told = kd_buf_slice(&body);
        if (mail_told_author(l.task, &l.authors) == KD_OK &&
            mail_authors_believe(l.task, com, kd_slice_str(ALICE), &l.authors) ==
                KD_OK) {
            taken++;
            assert_in_range(l.authors.n, 1, 2);
            assert_int_equal(l.authors.list[0].superseded_ms, 0);
        }
        body.p[i] ^= 0x81;
        l.task->told = kd_slice(body.p, i);
        assert_int_equal(mail_told_author(l.task, &l.authors), KD_UNAVAILABLE);
    }
    assert_true(taken >
                0); /* what is the ledger's to say, and the former one's octets */
    kd_buf_free(&body);
    l.task->told = kd_slice(NULL, 0);
    lie_end(&l);
}

static kd_err
tell_recipient(struct kd_told_recipient m, struct mail_recipient *out)
{
    struct task *t = new_task(ANYBODY, KD_OP_IssueUserSignet);
    struct kd_buf b;

    kd_buf_init(&b, 256);
    kd_told_recipient_put(&b, &m);
    t->told = kd_buf_slice(&b);
    kd_err err = mail_told_recipient(t, out);
    kd_buf_free(&b);
    if (err != KD_OK)
        assert_int_equal(t->reason, KD_REASON_NO_LEDGER);
    finish(t);
    return err;
}

static void
what_is_said_of_a_recipient_must_make_sense(void **state)
{
    uint8_t octets[64];
    struct mail_recipient r = {.superseded_ms = 1};
    struct kd_told_recipient good = {
        .known = 1, .superseded = 5, .account = account_octets(octets, 2)};

    (void)state;
    assert_int_equal(tell_recipient(good, &r), KD_OK);
    assert_true(r.is_known && r.superseded_ms == 5 && r.account.state == 2);
    struct kd_told_recipient bad = good;
    bad.known = 2;
    assert_int_equal(tell_recipient(bad, &r), KD_UNAVAILABLE);
    bad.known = 0; /* unknown, and yet superseded */
    assert_int_equal(tell_recipient(bad, &r), KD_UNAVAILABLE);
    bad = good;
    bad.err = KD_NOT_FOUND;
    assert_int_equal(tell_recipient(bad, &r), KD_UNAVAILABLE);
    bad = good;
    bad.account = kd_slice(octets, 3);
    assert_int_equal(tell_recipient(bad, &r), KD_UNAVAILABLE);
    assert_int_equal(r.superseded_ms, 5); /* nothing was written */
}

static void
mail_to_a_recipient_is_current_stale_or_unknown(void **state)
{
    enum { WEEK = 7 * 24 * 3600 };
    const int64_t now = INT64_C(1800000000000);
    struct mail_recipient r = {.is_known = true};

    (void)state;
    assert_int_equal(mail_recipient_standing(&r, WEEK, now), MAIL_CURRENT);
    r.superseded_ms = (uint64_t)now - WEEK * UINT64_C(1000);
    assert_int_equal(mail_recipient_standing(&r, WEEK, now), MAIL_STALE);
    assert_int_equal(mail_recipient_standing(&r, WEEK, now + 1), MAIL_UNKNOWN);
    r.superseded_ms = (uint64_t)now + 1;
    assert_int_equal(mail_recipient_standing(&r, WEEK, now), MAIL_STALE);
    r.superseded_ms = UINT64_MAX;
    assert_int_equal(mail_recipient_standing(&r, WEEK, now), MAIL_STALE);
    r.superseded_ms = 1;
    assert_int_equal(mail_recipient_standing(&r, UINT32_MAX, now), MAIL_STALE);
    assert_int_equal(mail_recipient_standing(&r, WEEK, -5), MAIL_STALE);
    r.superseded_ms = 0;
    r.account.state = KD_ACCOUNT_FROZEN;
    assert_int_equal(mail_recipient_standing(&r, WEEK, now), MAIL_CURRENT);
    r.account.state = KD_ACCOUNT_CLOSED;
    assert_int_equal(mail_recipient_standing(&r, WEEK, now), MAIL_UNKNOWN);
    r = (struct mail_recipient){.is_known = false};
    assert_int_equal(mail_recipient_standing(&r, WEEK, now), MAIL_UNKNOWN);
}

static void
what_is_said_of_naked_mail_must_make_sense(void **state)
{
    uint8_t octets[64];

    (void)state;
    for (unsigned i = 0; i < 8; i++) {
        struct kd_told_naked m = {.has_signet = i < 2,
                                  .key_known = i == 1 || i == 3,
                                  .account = account_octets(octets, 0)};
        struct mail_naked_told out = {.has_signet = false, .is_key_known = true};
        struct task *t = new_task(ANYBODY, KD_OP_IssueUserSignet);
        bool makes_sense = i < 4;
        struct kd_buf b;
        if (i == 4)
            m.key_known = 2;
        else if (i == 5)
            m.has_signet = 2;
        else if (i == 6)
            m.err = KD_UNAVAILABLE;
        else if (i == 7)
            m.account = kd_slice(NULL, 0);
        kd_buf_init(&b, 256);
        kd_told_naked_put(&b, &m);
        t->told = kd_buf_slice(&b);
        assert_int_equal(mail_told_naked(t, &out),
                         makes_sense ? KD_OK : KD_UNAVAILABLE);
        assert_int_equal(out.has_signet, i < 2);
        assert_int_equal(out.is_key_known, !makes_sense || i % 2 == 1);
        kd_buf_free(&b);
        finish(t);
    }
}

static void
questions_say_what_was_asked(void **state)
{
    struct task *t = new_task(ANYBODY, KD_OP_IssueUserSignet);
    const uint8_t fp[64] = {7}, key[32] = {8};
    struct kd_ask_recipient recipient;
    struct kd_ask_naked naked;

    (void)state;
    mail_ask_recipient(&vault, t, kd_slice(NULL, 0), fp, asked);
    assert_int_equal(t->ask_type, KD_MSG_ask_recipient);
    assert_int_equal(kd_ask_recipient_get(kd_buf_slice(&t->ask), &recipient), KD_OK);
    assert_int_equal(recipient.address.n, 0);
    assert_memory_equal(recipient.fp, fp, 64);
    assert_int_equal(recipient.tag, t->tag);
    mail_ask_naked(&vault, t, kd_slice_str(ALICE), key, asked);
    assert_int_equal(t->ask_type, KD_MSG_ask_naked);
    assert_int_equal(kd_ask_naked_get(kd_buf_slice(&t->ask), &naked), KD_OK);
    assert_memory_equal(naked.key, key, 32);
    assert_int_equal(naked.tag, t->tag);
    finish(t);
}

/* --- every operation that uses a key --- */

static struct task *
internal_task(enum kd_op op)
{
    const struct kd_job job = {
        .op = (uint8_t)op, .uid = 0, .deadline = (uint64_t)kd_clock_ms() + 60000};
    struct task *t = task_new(&vault, TASK_INTERNAL, vault.conf, &job, -1);

    assert_non_null(t);
    return t;
}

/* With a clock that is wrong nothing is done that will be recorded, whether it changes
 * something or not. */
static void
no_key_is_used_while_the_clock_is_wrong(void **state)
{
    unsigned n = 0;

    (void)state;
    for (unsigned op = 1; op <= KD_OP_MAX; op++) {
        if (!kd_op_uses_key(op))
            continue;
        n++;
        vault.chain.time = 0;
        struct task *t = internal_task((enum kd_op)op);
        assert_true(run_allowed(&vault, t, kd_slice_str(COM)));
        finish(t);
        vault.chain.time = (uint64_t)kd_clock_wall_ms() + 3600 * 1000;
        if (run_allowed(&vault, internal_task((enum kd_op)op), kd_slice_str(COM)))
            fail_msg("%s goes on", kd_op_name(op));
    }
    assert_true(n > 0);
    vault.chain.time = 0;
}

static kd_err result;

static void
work(struct task *t)
{
    t->err = KD_OK;
}

static void
worked(struct vault *v, struct task *t)
{
    (void)v;
    result = t->err;
    finish(t);
}

/* What was made for a principal that was stopped meanwhile is not let out. */
static void
what_was_made_for_a_stopped_principal_is_wiped(void **state)
{
    struct kd_slice name = kd_slice_str("anybody");
    /* beside which the others are done on crypto threads */
    struct task *other = new_task(ONLY_SOK, KD_OP_IssueUserSignet);

    (void)state;
    for (unsigned op = 1; op <= KD_OP_MAX; op++) {
        if (!kd_op_uses_key(op))
            continue;
        for (unsigned stopped = 0; stopped < 2; stopped++) {
            struct task *t = new_task(ANYBODY, (enum kd_op)op);
            result = KD_FAILED;
            task_work(&vault, t, work, worked);
            if (stopped != 0)
                assert_int_equal(stops_hold(&vault, KD_CLASS_SUBMISSION, name), KD_OK);
            task_take_done(&vault);
            if (stopped != 0)
                stops_let_go(&vault, KD_CLASS_SUBMISSION, name);
            if (result != (stopped != 0 ? KD_DENIED : KD_OK))
                fail_msg("%s: %d", kd_op_name(op), result);
        }
    }
    finish(other);
}

/* --- tasks --- */

struct stepped {
    unsigned n;
    kd_err err;
    uint16_t reason;
    size_t told;
};

static void
stepped(struct vault *v, struct task *t)
{
    struct stepped *s = t->data;

    (void)v;
    s->n++;
    s->err = t->err;
    s->reason = t->reason;
    s->told = t->told.n;
    t->stage = TASK_COMMITTING;
}

static struct task *
asking(bool owes_record, struct stepped *s)
{
    struct task *t = new_task(ANYBODY, KD_OP_OpenEnvelope);

    *s = (struct stepped){0};
    t->data = s;
    t->owes_record = owes_record;
    mail_ask_recipient(&vault, t, kd_slice_str(ALICE), (const uint8_t[64]){0}, stepped);
    assert_int_equal(t->stage, TASK_ASKING);
    return t;
}

/* What has used a key goes on to its record though nobody waits any longer. */
static void
a_use_of_a_key_does_not_end_unrecorded_with_its_question(void **state)
{
    struct kd_slice name = kd_slice_str("anybody");
    struct stepped s;

    (void)state;
    for (unsigned owes = 0; owes < 2; owes++) {
        struct task *t = asking(owes != 0, &s);
        t->deadline = kd_clock_ms() - 1;
        task_expire(&vault);
        assert_int_equal(s.n, owes);
        assert_int_equal(vault.tasks.n, owes);
        if (owes != 0) {
            assert_int_equal(s.err, KD_UNAVAILABLE);
            finish(t);
        }
        /* its principal was stopped: nothing of the answer is looked at */
        t = asking(owes != 0, &s);
        assert_int_equal(stops_hold(&vault, KD_CLASS_SUBMISSION, name), KD_OK);
        assert_int_equal(task_told(&vault, t->tag, kd_slice_str("told"), -1), KD_OK);
        stops_let_go(&vault, KD_CLASS_SUBMISSION, name);
        assert_int_equal(s.n, owes);
        assert_int_equal(vault.tasks.n, owes);
        if (owes != 0) {
            assert_int_equal(s.err, KD_DENIED);
            assert_int_equal(s.reason, KD_REASON_PRINCIPAL_STOPPED);
            assert_int_equal(s.told, 0);
            finish(t);
        }
    }
}

static void
idle(struct task *t)
{
    t->err = KD_OK;
}

static void
idled(struct vault *v, struct task *t)
{
    *(bool *)t->data = t->is_long;
    task_finish(v, t, KD_OK, 0);
}

/* As large messages, so a small one under a signet of many keys. */
static void
many_keys_take_the_lane_of_long_work(void **state)
{
    static const struct {
        uint64_t size;
        unsigned cost;
        bool is_long;
    } cases[] = {{1, 0, false},
                 {1, MAIL_LONG_COST - 1, false},
                 {1, MAIL_LONG_COST, true},
                 {MAIL_LONG_SIZE, 1, false},
                 {MAIL_LONG_SIZE + 1, 1, true}};
    /* beside which the others are done on crypto threads */
    struct task *other = new_task(ONLY_SOK, KD_OP_IssueUserSignet);

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const struct mail_object o = {.source = {.n = cases[i].size},
                                      .cost = cases[i].cost};
        struct task *t = new_task(ANYBODY, KD_OP_OpenEnvelope);
        bool is_long = !cases[i].is_long;
        t->data = &is_long;
        mail_work(&vault, t, &o, idle, idled);
        task_take_done(&vault);
        assert_int_equal(vault.tasks.n, 1);
        assert_int_equal(is_long, cases[i].is_long);
    }
    finish(other);
}

static void
who_is_not_recorded_when_the_account_is_shut_is_too_late(void **state)
{
    static const char *const accounts[] = {ALICE, ALICE, "bob@" COM, NULL};
    struct task *t[4];

    (void)state;
    for (unsigned i = 0; i < 4; i++) {
        t[i] = new_task(ANYBODY, KD_OP_SignOutbound);
        t[i]->stage = i == 1 ? TASK_COMMITTING : TASK_WORKING;
        if (accounts[i] != NULL)
            t[i]->account = kd_slice_str(accounts[i]);
    }
    task_overtake(&vault, kd_slice_str(ALICE), KD_REASON_ADDRESS_FROZEN);
    for (unsigned i = 0; i < 4; i++) {
        assert_int_equal(t[i]->overtaken, i == 0 ? KD_REASON_ADDRESS_FROZEN : 0);
        finish(t[i]);
    }
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)
    const struct CMUnitTest tests[] = {
        TEST(the_current_key_opens_by_either_fingerprint_and_by_none),
        TEST(a_former_key_opens_for_its_retention_and_no_longer),
        TEST(what_is_revoked_or_not_ours_opens_nothing),
        TEST(policy_decides_after_it_is_known_whether_there_is_a_key),
        TEST(a_signet_that_is_replaced_is_a_former_one_from_then_on),
        TEST(the_other_openers_come_newest_first_and_each_once),
        TEST(what_a_ledger_calls_former_must_hold),
        TEST(former_signets_are_bounded_by_number),
        TEST(a_secondary_key_signs_messages_unless_the_domain_says_pok),
        TEST(only_the_signets_own_primary_key_signs_as_such),
        TEST(a_signature_may_be_by_any_message_key_that_is_not_revoked),
        TEST(every_encryption_key_of_ours_is_listed_whatever_its_state),
        TEST(a_domain_whose_messages_no_key_may_sign_is_told_of),
        TEST(a_domain_lacks_only_what_front_ends_may_ask_for),
        TEST(a_message_signer_of_the_other_kind_is_none),
        TEST(a_domain_whose_mail_no_key_opens_is_told_of),
        TEST(the_truth_about_an_author_is_taken),
        TEST(what_makes_no_sense_about_an_author_is_refused),
        TEST(large_signets_of_authors_are_held_in_bounded_memory),
        TEST(an_authors_signet_counts_only_if_it_is_ours_and_the_authors),
        TEST(an_answer_that_was_bent_anywhere_is_harmless),
        TEST(what_is_said_of_a_recipient_must_make_sense),
        TEST(mail_to_a_recipient_is_current_stale_or_unknown),
        TEST(what_is_said_of_naked_mail_must_make_sense),
        TEST(questions_say_what_was_asked),
        TEST(no_key_is_used_while_the_clock_is_wrong),
        TEST(what_was_made_for_a_stopped_principal_is_wiped),
        TEST(a_use_of_a_key_does_not_end_unrecorded_with_its_question),
        TEST(many_keys_take_the_lane_of_long_work),
        TEST(who_is_not_recorded_when_the_account_is_shut_is_too_late),
    };

    if (sodium_init() < 0 || kd_secret_setup((size_t)512 * 1024) != KD_OK)
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
