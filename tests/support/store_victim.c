/* store_victim DIRECTORY ACKS RUN BATCHES
 *
 * Puts batches into a registry as a ledger would and appends to ACKS what it may
 * acknowledge, after each commit (the form is check.h's). Made to be killed. Each RUN
 * continues what earlier ones left.
 *
 * Exit status: 0 all done, 3 the outcome of a commit is unknown, 4 the registry cannot
 * be opened, 5 a batch failed before its commit, 6 anything unexpected. */
#include "registry.h"

#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { UNKNOWN = 3, CANNOT_OPEN, FAILED_BATCH, UNEXPECTED, BATCH_MOST = 6 };

struct victim {
    struct kd_store *store;
    struct reg reg;
    struct reg_item item;
    struct reg_user user;
    unsigned run;
    unsigned n_users;
    int acks;
    char lines[BATCH_MOST * 2 * 400];
    size_t n_lines;
};

static void
leave(int status)
{
    _exit(status); /* as the ledger does: nothing is tidied up */
}

static void
expect(bool good)
{
    if (!good)
        leave(UNEXPECTED);
}

static void
note(struct victim *v, const char *name, const uint8_t *digest)
{
    char hex[65];
    size_t left = sizeof v->lines - v->n_lines;
    int n = snprintf(v->lines + v->n_lines, left, "%s %s\n", name,
                     sodium_bin2hex(hex, sizeof hex, digest, 32));

    expect(n > 0 && (size_t)n < left);
    v->n_lines += (size_t)n;
}

static void
add(struct victim *v)
{
    struct kd_store_ack ack;
    char name[32];
    uint8_t digest[32];

    if (kd_store_add(v->store, &v->item.item, &ack) != KD_OK)
        leave(FAILED_BATCH);
    expect(ack.outcome == KD_OK);
    snprintf(name, sizeof name, "@%llu", (unsigned long long)ack.seq);
    note(v, name, ack.hash);
    if (v->item.item.signing == NULL)
        return;
    crypto_hash_sha256(digest, v->item.signing.signet.p, v->item.signing.signet.n);
    note(v, v->user.address, digest);
}

static void
next_user(struct victim *v)
{
    char address[64];

    reg_user_free(&v->user);
    snprintf(address, sizeof address, "u%u-%u@example.com", v->run, v->n_users++);
    reg_user_init(&v->user, address);
}

static void
batch(struct victim *v, unsigned n)
{
    unsigned size = 1 + n % BATCH_MOST;

    v->n_lines = 0;
    if (kd_store_begin(v->store) != KD_OK)
        leave(FAILED_BATCH);
    for (unsigned i = 0; i < size; i++) {
        if (i == 3)
            reg_plain(&v->reg, &v->item, KD_AUDIT_SIGN_DKIM);
        else if (i == 4)
            reg_checkpoint(&v->reg, &v->item);
        else
            reg_issue(&v->reg, &v->item, &v->user, false);
        add(v);
        if (v->user.seq == 3)
            next_user(v);
    }
    if (kd_store_commit(v->store) != KD_OK)
        leave(UNKNOWN);
    expect(write(v->acks, v->lines, v->n_lines) == (ssize_t)v->n_lines);
    if (kd_store_tend(v->store) != KD_OK)
        leave(UNKNOWN);
}

/* Every run changes the key store once. */
static void
change_keystore(struct victim *v, uint64_t generation)
{
    char text[64];

    snprintf(text, sizeof text, "key store of run %u", v->run);
    if (kd_store_keystore_stage(v->store, kd_slice_str(text)) != KD_OK)
        leave(FAILED_BATCH);
    v->n_lines = 0;
    if (kd_store_begin(v->store) != KD_OK)
        leave(FAILED_BATCH);
    reg_keystore(&v->reg, &v->item, generation, kd_slice_str(text));
    add(v);
    if (kd_store_commit(v->store) != KD_OK)
        leave(UNKNOWN);
    expect(write(v->acks, v->lines, v->n_lines) == (ssize_t)v->n_lines);
    if (kd_store_keystore_activate(v->store) != KD_OK)
        leave(UNKNOWN);
}

/* The same organization in every run; its signet is stored by the first to get there.
 */
static void
begin_run(struct victim *v)
{
    struct kd_audit_tail tail;
    struct kd_org_row org;

    kd_store_tail(v->store, &tail);
    reg_init(&v->reg, "example.com", 5);
    kd_err err = kd_store_org_current(v->store, kd_slice_str("example.com"), &org);
    expect(err == KD_OK || err == KD_NOT_FOUND);
    v->reg.tail = tail;
    v->reg.tail.epoch++;
    if (tail.time_ms > v->reg.clock_ms)
        v->reg.clock_ms = tail.time_ms;
    struct kd_audit_tail before = v->reg.tail;
    reg_org(&v->reg, &v->item, false);
    if (err == KD_OK) {
        v->reg.tail = before;
    } else {
        if (kd_store_begin(v->store) != KD_OK)
            leave(FAILED_BATCH);
        add(v);
        if (kd_store_commit(v->store) != KD_OK)
            leave(UNKNOWN);
    }
    v->reg.n_made = 1000000 * (uint64_t)(v->run + 1);
}

int
main(int argc, char **argv)
{
    struct victim v = {0};
    struct kd_store_conf conf = {.create = true};
    char why[KD_STORE_WHY_MAX];
    struct kd_slice octets;
    uint64_t generation = 0;

    expect(argc == 5 && sodium_init() >= 0);
    conf.dir = argv[1];
    v.acks = open(argv[2], O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    expect(v.acks >= 0);
    v.run = (unsigned)strtoul(argv[3], NULL, 10);
    unsigned batches = (unsigned)strtoul(argv[4], NULL, 10);
    reg_item_init(&v.item);
    if (kd_store_open(&kd_store_sqlite, &conf, &v.store, why) != KD_OK) {
        fprintf(stderr, "%s\n", why);
        leave(CANNOT_OPEN);
    }
    begin_run(&v);
    next_user(&v);
    kd_err err = kd_store_keystore_read(v.store, &octets, &generation);
    if (err != KD_OK && err != KD_NOT_FOUND)
        leave(FAILED_BATCH);
    for (unsigned i = 0; i < batches; i++) {
        batch(&v, i);
        if (i == 2)
            change_keystore(&v, generation + 1);
    }
    kd_store_close(v.store);
    reg_user_free(&v.user);
    reg_item_free(&v.item);
    reg_free(&v.reg);
    close(v.acks);
    return 0;
}
