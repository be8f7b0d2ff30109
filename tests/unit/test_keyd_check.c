/* The invariant checker finds nothing in a good registry and something in every one of
 * these bad ones. */
#include "../support/check.h"
#include "../support/registry.h"
#include "../support/tamper.h"

#include <setjmp.h>
#include <sodium.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
/* cmocka.h wants some of the above first */
#include <cmocka.h>

struct world {
    char dir[64], good[96], bad[96], path[128], acks[128];
    struct kd_store *store;
    struct reg reg;
    struct reg_item item;
    struct reg_user alice, bob, carol;
    FILE *ack_file;
    char last[400];     /* the checker's last words */
    const char *expect; /* how one of them is to begin */
    bool said;
};

static struct world w;

static void
ack(const char *name, const uint8_t *digest)
{
    char hex[65];

    fprintf(w.ack_file, "%s %s\n", name, sodium_bin2hex(hex, sizeof hex, digest, 32));
}

static void
put(kd_err outcome)
{
    struct kd_store_ack a;
    char name[32];

    assert_int_equal(kd_store_begin(w.store), KD_OK);
    assert_int_equal(kd_store_add(w.store, &w.item.item, &a), KD_OK);
    assert_int_equal(kd_store_commit(w.store), KD_OK);
    assert_int_equal(a.outcome, outcome);
    snprintf(name, sizeof name, "@%llu", (unsigned long long)a.seq);
    ack(name, a.hash);
    if (w.item.item.signing != NULL && outcome == KD_OK) {
        uint8_t digest[32];
        crypto_hash_sha256(digest, w.item.signing.signet.p, w.item.signing.signet.n);
        ack((const char *)w.item.decoded.address.p, digest);
    }
}

static void
issue(struct reg_user *u, bool reset)
{
    reg_issue(&w.reg, &w.item, u, reset);
    put(KD_OK);
}

static void
change_keystore(uint64_t generation, const char *text)
{
    assert_int_equal(kd_store_keystore_stage(w.store, kd_slice_str(text)), KD_OK);
    reg_keystore(&w.reg, &w.item, generation, kd_slice_str(text));
    put(KD_OK);
    assert_int_equal(kd_store_keystore_activate(w.store), KD_OK);
}

static void
account(enum kd_audit_op op, const char *address, const char *detail)
{
    reg_account(&w.reg, &w.item, op, address, detail);
    put(KD_OK);
}

static void
make_accounts(void)
{
    account(KD_AUDIT_FREEZE_ADDRESS, "bob@example.com", "theft"); /* 20 */
    account(KD_AUDIT_THAW_ADDRESS, "bob@example.com", NULL);      /* 21 */
    account(KD_AUDIT_STOP_PRINCIPAL, NULL, "submission:submitd"); /* 22 */
    account(KD_AUDIT_REQUEST_RESET, "carol@example.com", "10");   /* 23 */
    account(KD_AUDIT_APPROVE_RESET, "carol@example.com", NULL);   /* 24 */
    w.reg.clock_ms += 10000;
    w.reg.uptime_ms += 10000;
    issue(&w.carol, true);                                       /* 25 */
    issue(&w.carol, false);                                      /* 26 */
    account(KD_AUDIT_CLOSE_ADDRESS, "dave@example.com", NULL);   /* 27 */
    account(KD_AUDIT_REQUEST_RESET, "alice@example.com", "10");  /* 28 */
    issue(&w.alice, false);                                      /* 29 */
    account(KD_AUDIT_REQUEST_RESET, "bob@example.com", "10");    /* 30 */
    account(KD_AUDIT_CANCEL_RESET, "bob@example.com", NULL);     /* 31 */
    account(KD_AUDIT_REQUEST_RESET, "bob@example.com", "99999"); /* 32 */
    account(KD_AUDIT_ATTEST_LEVEL, "alice@example.com", "eci");  /* 33 */
}

/* Everything there can be in a registry, in 33 records. */
static void
make_good(void)
{
    struct reg_user twin;

    reg_org(&w.reg, &w.item, false); /* 1 */
    put(KD_OK);
    change_keystore(1, "one"); /* 2 */
    issue(&w.alice, false);    /* 3 */
    issue(&w.alice, false);    /* 4 */
    issue(&w.bob, false);      /* 5 */
    reg_user_init(&twin, "bob@example.com");
    reg_issue(&w.reg, &w.item, &twin, false); /* 6: a conflict */
    put(KD_CONFLICT);
    reg_user_free(&twin);
    reg_checkpoint(&w.reg, &w.item); /* 7, of 6 */
    put(KD_OK);
    reg_plain(&w.reg, &w.item, KD_AUDIT_SIGN_OUTBOUND); /* 8 */
    reg_idem(&w.item, 8);
    put(KD_OK);
    reg_org(&w.reg, &w.item, true); /* 9 */
    put(KD_OK);
    reg_reissue(&w.reg, &w.item, &w.bob); /* 10 */
    put(KD_OK);
    reg_reissue(&w.reg, &w.item, &w.alice); /* 11 */
    put(KD_OK);
    issue(&w.alice, false);                             /* 12 */
    issue(&w.carol, false);                             /* 13 */
    reg_plain(&w.reg, &w.item, KD_AUDIT_SIGN_OUTBOUND); /* 14 */
    put(KD_OK);
    reg_plain(&w.reg, &w.item, KD_AUDIT_SIGN_OUTBOUND); /* 15 */
    put(KD_OK);
    change_keystore(2, "two");       /* 16 */
    reg_checkpoint(&w.reg, &w.item); /* 17, of 16 */
    put(KD_OK);
    issue(&w.bob, false);                               /* 18 */
    reg_plain(&w.reg, &w.item, KD_AUDIT_SIGN_OUTBOUND); /* 19 */
    put(KD_OK);
    make_accounts();
}

static void
copy_all(void)
{
    static const char *const names[] = {"registry.db", "keystore"};
    char from[160], to[160], part[4096];

    for (size_t i = 0; i < 2; i++) {
        size_t n;
        snprintf(from, sizeof from, "%s/%s", w.good, names[i]);
        snprintf(to, sizeof to, "%s/%s", w.bad, names[i]);
        FILE *in = fopen(from, "rb"), *out = fopen(to, "wb");
        assert_true(in != NULL && out != NULL);
        while ((n = fread(part, 1, sizeof part, in)) > 0)
            assert_int_equal(fwrite(part, 1, n, out), n);
        fclose(in);
        assert_int_equal(fclose(out), 0);
    }
}

static void
keep(void *arg, const char *text)
{
    (void)arg;
    snprintf(w.last, sizeof w.last, "%s", text);
    if (w.expect != NULL && strncmp(text, w.expect, strlen(w.expect)) == 0)
        w.said = true;
}

static unsigned
check(const char *dir)
{
    struct check_conf conf = {
        .dir = dir, .acks = w.acks, .audit_key = w.reg.audit.key, .report = keep};

    return check_registry(&conf);
}

static int
start(void **state)
{
    struct kd_store_conf conf = {.create = true, .dir = w.good};
    char why[KD_STORE_WHY_MAX];

    (void)state;
    strcpy(w.dir, access("/dev/shm", W_OK) == 0 ? "/dev/shm/kd-check-XXXXXX"
                                                : "/tmp/kd-check-XXXXXX");
    reg_must(mkdtemp(w.dir) != NULL);
    snprintf(w.good, sizeof w.good, "%s/good", w.dir);
    snprintf(w.bad, sizeof w.bad, "%s/bad", w.dir);
    snprintf(w.path, sizeof w.path, "%s/registry.db", w.bad);
    snprintf(w.acks, sizeof w.acks, "%s/acks", w.dir);
    reg_must(mkdir(w.good, 0700) == 0 && mkdir(w.bad, 0700) == 0);
    w.ack_file = fopen(w.acks, "w");
    reg_must(w.ack_file != NULL);
    reg_init(&w.reg, "example.com", 11);
    reg_item_init(&w.item);
    reg_user_init(&w.alice, "alice@example.com");
    reg_user_init(&w.bob, "bob@example.com");
    reg_user_init(&w.carol, "carol@example.com");
    reg_must(kd_store_open(&kd_store_sqlite, &conf, &w.store, why) == KD_OK);
    kd_store_tail(w.store, &w.reg.tail);
    w.reg.tail.epoch = 1;
    make_good();
    kd_store_close(w.store);
    fputs("alice@example.com 0123", w.ack_file); /* cut short: no acknowledgement */
    reg_must(fclose(w.ack_file) == 0);
    return 0;
}

static int
end(void **state)
{
    char command[200];

    (void)state;
    reg_user_free(&w.alice);
    reg_user_free(&w.bob);
    reg_user_free(&w.carol);
    reg_item_free(&w.item);
    reg_free(&w.reg);
    snprintf(command, sizeof command, "rm -rf %s", w.dir);
    return system(command);
}

static void
good_registry_has_no_violation(void **state)
{
    (void)state;
    if (check(w.good) != 0)
        fail_msg("%s", w.last);
}

static void
missing_registry_is_a_violation(void **state)
{
    (void)state;
    assert_true(check("/nowhere") > 0);
}

#define FLIP(column, at)                                                               \
    column " = CAST(substr(" column ", 1, " at ") || CASE substr(" column ", " at      \
           " + 1, 1) WHEN x'00' THEN x'01' ELSE x'00' END || substr(" column ", " at   \
           " + 2) AS BLOB)"
#define BLOB32 "x'" Z16 Z16 Z16 "00000000000000ab'"
#define Z16 "0000000000000000"

/* Each is one violation; the text is what the checker must at least say. */
static const struct mutation {
    const char *sql;
    const char *says;
} mutations[] = {
    /* I1 */
    {"DELETE FROM signing WHERE link = (SELECT max(id) FROM link); "
     "DELETE FROM link WHERE id = (SELECT max(id) FROM link)",
     "I1"},
    {"DELETE FROM audit WHERE seq = 33; UPDATE meta SET head_seq = 32, head_hash = "
     "(SELECT hash FROM audit WHERE seq = 32)",
     "I1"},
    /* I2: chains */
    {"UPDATE link SET address = 'mallory@example.com' WHERE id = 3", "I2"},
    {"UPDATE link SET address = 'bob@example.com', generation = 2 WHERE address = "
     "'carol@example.com' AND generation = 1",
     "I2"},
    {"UPDATE link SET seq = 9 WHERE address = 'alice@example.com' AND seq = 3", "I2"},
    {"UPDATE link SET generation = 3 WHERE address = 'carol@example.com' AND "
     "generation = 2",
     "I2"},
    {"UPDATE link SET predecessor = (SELECT ssr_fp FROM link WHERE address = "
     "'carol@example.com' AND generation = 1) WHERE address = 'alice@example.com' AND "
     "seq = 3",
     "I2"},
    {"UPDATE link SET " FLIP("ssr_fp", "9") " WHERE id = 1", "I2"},
    {"UPDATE link SET " FLIP("signing_key", "3") " WHERE id = 2", "I2"},
    {"UPDATE link SET " FLIP("encryption_key", "30") " WHERE id = 2", "I2"},
    {"UPDATE link SET created = created + 1 WHERE id = 4", "I2"},
    {"DELETE FROM link WHERE address = 'alice@example.com' AND seq = 1", "I2"},
    {"DELETE FROM link WHERE address = 'alice@example.com' AND seq = 2; DELETE FROM "
     "signing WHERE link NOT IN (SELECT id FROM link); UPDATE link SET seq = 2 WHERE "
     "address = 'alice@example.com' AND seq = 3",
     "I2"},
    {"INSERT INTO link SELECT 99, 'dave@example.com', 1, 1, zeroblob(64), "
     "zeroblob(64), zeroblob(32), " BLOB32 ", 1",
     "I2"},
    /* I2: signed forms */
    {"UPDATE signing SET " FLIP("signet", "100") " WHERE id = 1", "I"},
    {"UPDATE signing SET " FLIP("signet", "length(signet) - 1") " WHERE id = 3", "I"},
    {"UPDATE signing SET signet = substr(signet, 1, length(signet) - 1) WHERE id = 3",
     "I"},
    {"UPDATE signing SET signet = (SELECT signet FROM signing WHERE id = 3) WHERE id = "
     "1",
     "I"},
    {"UPDATE signing SET " FLIP("core_fp", "63") " WHERE id = 2", "I2"},
    {"UPDATE signing SET " FLIP("full_fp", "0") " WHERE id = 2", "I2"},
    {"UPDATE signing SET " FLIP("id_fp", "31") " WHERE id = 2", "I2"},
    {"UPDATE signing SET core_size = core_size - 1 WHERE id = 2", "I2"},
    {"UPDATE signing SET version = 3 WHERE version = 2", "I2"},
    {"UPDATE signing SET version = 2 WHERE id = 1", "I2"},
    {"UPDATE signing SET link = (SELECT id FROM link WHERE address = "
     "'carol@example.com' LIMIT 1), version = 2 WHERE version = 2 AND link = 3",
     "I"},
    {"UPDATE signing SET created = created - 1 WHERE id = 5", "I"},
    /* I4: org signets */
    {"UPDATE signing SET " FLIP("org_fp", "1") " WHERE id = 4", "I4"},
    {"UPDATE signing SET org_fp = (SELECT full_fp FROM org_signet WHERE version = 2) "
     "WHERE id = 1",
     "I2"},
    {"DELETE FROM org_signet WHERE version = 1", "I"},
    {"UPDATE org_signet SET " FLIP("signet", "60") " WHERE version = 2", "I2"},
    {"UPDATE org_signet SET " FLIP("full_fp", "60") " WHERE version = 2", "I"},
    {"UPDATE org_signet SET domain = 'example.org' WHERE version = 2", "I"},
    {"UPDATE org_signet SET version = 5 WHERE version = 2", "I2"},
    {"DELETE FROM key_seen WHERE kind = 2 AND audit_seq = 9", "I2"},
    {"UPDATE key_seen SET audit_seq = 6 WHERE audit_seq = 9", "I3"},
    {"INSERT INTO key_seen SELECT signing_key, 2, 9 FROM link WHERE id = 1", "I2"},
    /* I3 */
    {"DELETE FROM audit WHERE seq = 8", "I3"},
    {"DELETE FROM audit WHERE seq = 1", "I3"},
    {"UPDATE audit SET " FLIP("record", "60") " WHERE seq = 8", "I3"},
    {"UPDATE audit SET " FLIP("hash", "2") " WHERE seq = 8", "I3"},
    {"UPDATE audit SET epoch = 2 WHERE seq = 8", "I3"},
    {"UPDATE audit SET conflict = 1 WHERE seq = 5", "I3"},
    {"UPDATE audit SET conflict = 1 WHERE seq = 15", "I3"}, /* it changes nothing */
    {"UPDATE audit SET conflict = 0 WHERE seq = 6", "I3"},
    {"UPDATE audit SET record = (SELECT record FROM audit WHERE seq = 9), hash = "
     "(SELECT hash FROM audit WHERE seq = 9) WHERE seq = 8",
     "I3"},
    {"UPDATE signing SET audit_seq = 4 WHERE id = 1", "I3"},
    {"UPDATE signing SET audit_seq = 777 WHERE id = 1", "I3"},
    {"UPDATE meta SET head_seq = 20", "I3"},
    {"UPDATE meta SET " FLIP("instance", "0"), "I3"},
    {"UPDATE checkpoint SET seq = 5 WHERE seq = 6", "I3"},
    {"UPDATE checkpoint SET " FLIP("octets", "length(octets) - 1") " WHERE seq = 16",
     "I3"},
    {"UPDATE checkpoint SET octets = (SELECT octets FROM checkpoint WHERE seq = 6) "
     "WHERE seq = 16",
     "I3"},
    {"DELETE FROM checkpoint", "I3"},
    {"UPDATE idem SET audit_seq = 6", "I3"},
    {"UPDATE meta SET keystore_generation = 1", "I3"},
    {"UPDATE meta SET " FLIP("keystore_sha256", "7"), "I3"},
    /* accounts */
    {"DELETE FROM hold WHERE audit_seq = 20", "I3"},
    {"DELETE FROM hold WHERE audit_seq = 22", "I3"},
    {"UPDATE hold SET name = 'submission:other' WHERE audit_seq = 22", "I3"},
    {"UPDATE hold SET state = 0 WHERE audit_seq = 27", "I3"},
    {"UPDATE hold SET detail = 'abuse' WHERE audit_seq = 20", "I3"},
    {"INSERT INTO hold VALUES(99, 1, 'alice@example.com', 1, 'theft', 19, 1)", "I3"},
    {"INSERT INTO hold VALUES(99, 1, 'dave@example.com', 0, '', 19, 1)", "I2"},
    {"UPDATE hold SET created = created + 1 WHERE audit_seq = 33", "I3"},
    {"DELETE FROM reset_open", "I3"},
    {"UPDATE reset SET delay = 1 WHERE audit_seq = 23", "I3"},
    {"UPDATE reset SET created = created - 1 WHERE audit_seq = 23", "I3"},
    {"DELETE FROM reset_event WHERE audit_seq = 24", "I3"},
    {"UPDATE reset_event SET kind = 2 WHERE audit_seq = 24", "I3"},
    {"DELETE FROM reset_event WHERE audit_seq = 25", "I3"},
    {"DELETE FROM reset_event WHERE audit_seq = 29", "I3"},
    {"UPDATE reset_event SET kind = 3 WHERE audit_seq = 31", "I3"},
    {"INSERT INTO reset_event VALUES(99, 4, 1, 19, 1)", "I3"},
    {"UPDATE uptime SET ms = 9999", "I2 a reset"},
    {"INSERT INTO counter VALUES('refused', -1)", "counter"},
};
enum { N_MUTATIONS = sizeof mutations / sizeof *mutations };

static void
every_seeded_violation_is_found(void **state)
{
    (void)state;
    assert_true(N_MUTATIONS >= 60);
    for (size_t i = 0; i < N_MUTATIONS; i++) {
        copy_all();
        tamper(w.path, mutations[i].sql);
        w.expect = mutations[i].says;
        w.said = false;
        if (check(w.bad) == 0)
            fail_msg("not found: %s", mutations[i].sql);
        if (!w.said)
            fail_msg("%s: said only: %s", mutations[i].sql, w.last);
    }
}

/* With the unique indexes away, so that the doubles can be there at all. */
static void
doubles_are_found(void **state)
{
    static const char *const changes[] = {
        "UPDATE t SET signing_key = (SELECT signing_key FROM t WHERE id = 1) WHERE id "
        "= "
        "2",
        "UPDATE t SET encryption_key = (SELECT encryption_key FROM t WHERE id = 1) "
        "WHERE "
        "id = 2",
        "UPDATE t SET address = 'alice@example.com' WHERE address = 'bob@example.com'",
    };

    (void)state;
    for (size_t i = 0; i < sizeof changes / sizeof *changes; i++) {
        char text[1000];
        copy_all();
        snprintf(
            text, sizeof text,
            "CREATE TABLE t AS SELECT * FROM link; DROP TABLE link; %s; "
            "CREATE TABLE link(id INTEGER PRIMARY KEY, address TEXT, generation "
            "INTEGER, seq INTEGER, predecessor BLOB, ssr_fp BLOB, signing_key BLOB, "
            "encryption_key BLOB, created INTEGER); "
            "INSERT INTO link SELECT * FROM t; DROP TABLE t",
            changes[i]);
        tamper(w.path, text);
        if (check(w.bad) == 0)
            fail_msg("not found: %s", changes[i]);
    }
}

static void
other_key_store_is_found(void **state)
{
    char path[160];

    (void)state;
    copy_all();
    snprintf(path, sizeof path, "%s/keystore", w.bad);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs("one", f);
    fclose(f);
    assert_true(check(w.bad) > 0);
}

static void
wrong_audit_key_is_found(void **state)
{
    struct check_conf conf = {.dir = w.good, .audit_key = w.reg.pok.key};

    (void)state;
    assert_true(check_registry(&conf) > 0);
}

/* Rows and records agree, the rules are broken: the log alone gives it away. */
static void
what_the_log_itself_shows_is_found(void **state)
{
    static const struct {
        const char *sql, *says;
    } changes[] = {
        /* as if the freeze had come after the step of record 18 */
        {"UPDATE audit SET conflict = 1 WHERE seq = 21; DELETE FROM hold WHERE "
         "audit_seq = 21",
         "I2 record 34"},
        {"UPDATE audit SET conflict = 1 WHERE seq = 24; DELETE FROM reset_event WHERE "
         "audit_seq = 24",
         "I2 record 25"},
        {"UPDATE audit SET conflict = 1 WHERE seq = 23; DELETE FROM reset_event WHERE "
         "reset = 1; DELETE FROM reset WHERE id = 1",
         "I2 record 25"},
    };
    struct kd_store_conf conf = {.dir = w.bad};
    char why[KD_STORE_WHY_MAX];
    struct kd_store_ack a;

    (void)state;
    for (size_t i = 0; i < sizeof changes / sizeof *changes; i++) {
        struct reg_user bob = w.bob;
        struct reg reg = w.reg;
        copy_all();
        assert_int_equal(kd_store_open(&kd_store_sqlite, &conf, &w.store, why), KD_OK);
        kd_buf_init(&bob.ssr, DIME_SIGNET_MAX);
        kd_buf_init(&bob.signet, DIME_SIGNET_MAX);
        reg_issue(&reg, &w.item, &bob, false); /* 34 */
        assert_int_equal(kd_store_begin(w.store), KD_OK);
        assert_int_equal(kd_store_add(w.store, &w.item.item, &a), KD_OK);
        assert_int_equal(a.outcome, KD_OK);
        assert_int_equal(kd_store_commit(w.store), KD_OK);
        kd_store_close(w.store);
        reg_user_free(&bob);
        tamper(w.path, changes[i].sql);
        w.expect = changes[i].says;
        w.said = false;
        assert_true(check(w.bad) > 0);
        if (!w.said)
            fail_msg("%s: said only: %s", changes[i].sql, w.last);
    }
}

/* The result of a message operation was returned: its record is there, and says that it
 * was done. */
static void
results_of_messages_without_their_record_are_found(void **state)
{
    static const struct {
        enum kd_audit_op op;
        enum kd_audit_outcome outcome;
        uint8_t recorded;
        bool good;
    } cases[] = {{KD_AUDIT_SIGN_OUTBOUND, KD_OUTCOME_DONE, 7, true},
                 {KD_AUDIT_OPEN_ENVELOPE, KD_OUTCOME_DONE, 7, true},
                 {KD_AUDIT_SIGN_OUTBOUND, KD_OUTCOME_DONE, 8, false},
                 {KD_AUDIT_OPEN_ENVELOPE, KD_OUTCOME_FAILED, 7, false}};
    struct kd_store_conf conf = {.dir = w.bad};
    char why[KD_STORE_WHY_MAX], acks[160];
    struct kd_store_ack a;
    const struct check_conf c = {
        .dir = w.bad, .acks = acks, .audit_key = w.reg.audit.key, .report = keep};

    (void)state;
    snprintf(acks, sizeof acks, "%s/message-acks", w.dir);
    w.ack_file = fopen(acks, "w");
    assert_non_null(w.ack_file);
    for (int i = 0; i < 3; i++) /* one more than once */
        ack("!", (const uint8_t[32]){7});
    assert_int_equal(fclose(w.ack_file), 0);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct reg reg = w.reg;
        copy_all();
        assert_int_equal(kd_store_open(&kd_store_sqlite, &conf, &w.store, why), KD_OK);
        reg_plain(&reg, &w.item, cases[i].op);
        w.item.decoded.outcome = cases[i].outcome;
        w.item.decoded.n_digests = 1;
        memset(w.item.decoded.digests, 0, sizeof w.item.decoded.digests);
        w.item.decoded.digests[0][0] = cases[i].recorded;
        reg = w.reg; /* in the place of the other */
        reg_seal(&reg, &w.item);
        assert_int_equal(kd_store_begin(w.store), KD_OK);
        assert_int_equal(kd_store_add(w.store, &w.item.item, &a), KD_OK);
        assert_int_equal(kd_store_commit(w.store), KD_OK);
        kd_store_close(w.store);
        w.expect = "I3 3 of 3 results";
        w.said = false;
        unsigned n_wrong = check_registry(&c);
        if (n_wrong != !cases[i].good)
            fail_msg("case %zu: %u violations, the last: %s", i, n_wrong, w.last);
        assert_int_equal(w.said, !cases[i].good);
    }
    assert_int_equal(remove(acks), 0);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good_registry_has_no_violation),
        cmocka_unit_test(missing_registry_is_a_violation),
        cmocka_unit_test(every_seeded_violation_is_found),
        cmocka_unit_test(doubles_are_found),
        cmocka_unit_test(other_key_store_is_found),
        cmocka_unit_test(wrong_audit_key_is_found),
        cmocka_unit_test(what_the_log_itself_shows_is_found),
        cmocka_unit_test(results_of_messages_without_their_record_are_found),
    };

    return cmocka_run_group_tests(tests, start, end);
}
