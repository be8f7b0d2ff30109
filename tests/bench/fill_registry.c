/* Puts users into the registry of a stopped daemon, as many as asked for, without their
 * being issued: the log gets a record of each that chains, as a vault would have made
 * it; the signets are octets of a real one's size (look-ups do not verify them) around
 * keys that are random and all different.
 *
 *   fill_registry DIRECTORY DOMAIN COUNT    users fill-0@DOMAIN ... fill-(COUNT -
 * 1)@DOMAIN */
#include <dime/signet.h>
#include <keyd/base/be.h>
#include <keyd/base/clock.h>
#include <keyd/ledger/store.h>

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

enum {
    BATCH = 2000,
    HEADER = 5,
    CORE_SIZE = 196,   /* fields 1, 3, 5 and 6 */
    SIGNET_SIZE = 360, /* and 253, 254, 255 */
};

struct filler {
    struct kd_store *store;
    struct kd_audit_tail tail;
    const char *domain;
    uint8_t org_fp[KD_FP_SIZE];
    char address[KD_AUDIT_ADDRESS_MAX + 1];
    uint8_t signet[SIGNET_SIZE];
    struct kd_link_put link;
    struct kd_signing_put signing;
    struct kd_buf record;
};

static _Noreturn void
die(const char *what, kd_err err, const char *why)
{
    fprintf(stderr, "fill_registry: %s: %s %s\n", what, kd_err_text(err), why);
    exit(1);
}

static void
must(const char *what, kd_err err)
{
    if (err != KD_OK)
        die(what, err, "");
}

static void
make_signet(struct filler *f)
{
    struct kd_signing_put *g = &f->signing;

    randombytes_buf(f->signet, sizeof f->signet);
    kd_put_be16(f->signet, DIME_MAGIC_USER);
    kd_put_be24(f->signet + 2, SIGNET_SIZE - HEADER);
    memcpy(f->link.signing_key, f->signet + HEADER + 3, sizeof f->link.signing_key);
    randombytes_buf(f->link.encryption_key, sizeof f->link.encryption_key);
    randombytes_buf(f->link.ssr_fp, sizeof f->link.ssr_fp);
    randombytes_buf(g->full_fp, sizeof g->full_fp);
    /* Look-ups compare this one. */
    crypto_hash_sha512(g->id_fp, f->signet + HEADER, SIGNET_SIZE - HEADER);
    crypto_hash_sha512(g->core_fp, f->signet + HEADER, CORE_SIZE);
    memcpy(g->org_fp, f->org_fp, sizeof g->org_fp);
    g->version = 1;
    g->core_size = CORE_SIZE;
    g->signet = kd_slice(f->signet, sizeof f->signet);
}

/* As a vault's: the wall clock's, which does not go back. A vault that found records of
 * times to come would use no keys until then. */
static uint64_t
next_time(const struct filler *f)
{
    uint64_t now = (uint64_t)kd_clock_wall_ms();

    return now > f->tail.time_ms ? now : f->tail.time_ms;
}

/* The record that continues the chain; the tail moves on to it. */
static void
make_record(struct filler *f)
{
    struct kd_audit_record r = {
        .epoch = f->tail.epoch,
        .seq = f->tail.seq + 1,
        .time_ms = next_time(f),
        .op = KD_AUDIT_ISSUE_USER,
        .class = KD_AUDIT_CLASS_SUBMISSION,
        .principal = kd_slice_str("uid:1001"),
        .domain = kd_slice_str(f->domain),
        .has_key = true,
        .n_digests = 3,
        .address = kd_slice_str(f->address),
        .generation = 1,
        .link_seq = 1,
    };

    memcpy(r.instance, f->tail.instance, sizeof r.instance);
    memcpy(r.prev, f->tail.hash, sizeof r.prev);
    randombytes_buf(r.digests, sizeof r.digests);
    kd_buf_reset(&f->record);
    must("record", kd_audit_encode(&r, &f->record));
    f->tail.seq = r.seq;
    f->tail.time_ms = r.time_ms;
    kd_audit_hash(kd_buf_slice(&f->record), f->tail.hash);
}

static void
add_user(struct filler *f, unsigned long number)
{
    struct kd_store_item item = {.link = &f->link, .signing = &f->signing};
    struct kd_store_ack ack;

    snprintf(f->address, sizeof f->address, "fill-%lu@%s", number, f->domain);
    make_signet(f);
    make_record(f);
    item.record = kd_buf_slice(&f->record);
    must("user", kd_store_add(f->store, &item, &ack));
    if (ack.outcome != KD_OK)
        die(f->address, ack.outcome, "");
}

static void
fill(struct filler *f, unsigned long count)
{
    for (unsigned long i = 0; i < count;) {
        must("begin", kd_store_begin(f->store));
        for (unsigned long end = i + BATCH; i < count && i < end; i++)
            add_user(f, i);
        must("commit", kd_store_commit(f->store));
        must("tend", kd_store_tend(f->store));
    }
}

int
main(int argc, char **argv)
{
    static struct filler f;
    struct kd_org_row org;
    char why[KD_STORE_WHY_MAX];

    if (argc != 4 || strlen(argv[2]) > KD_AUDIT_DOMAIN_MAX - 32)
        return EX_USAGE;
    const struct kd_store_conf conf = {.dir = argv[1], .cache_size = 256u << 20};
    if (sodium_init() < 0)
        return 1;
    kd_err err = kd_store_open(&kd_store_sqlite, &conf, &f.store, why);
    if (err != KD_OK)
        die(argv[1], err, why);
    f.domain = argv[2];
    kd_store_tail(f.store, &f.tail);
    must("organizational signet",
         kd_store_org_current(f.store, kd_slice_str(f.domain), &org));
    memcpy(f.org_fp, org.full_fp, sizeof f.org_fp);
    kd_buf_init(&f.record, KD_AUDIT_RECORD_MAX);
    fill(&f, strtoul(argv[3], NULL, 10));
    kd_buf_free(&f.record);
    kd_store_close(f.store);
    return 0;
}
