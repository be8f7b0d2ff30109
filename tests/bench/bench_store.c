/* How the registry bears many signets: rate of insertion by size of the registry, size
 * on disk, resident memory, look-ups, time to open.
 *
 *   bench_store [SIGNETS [BATCH [DIRECTORY]]]     200000 32 a directory in /tmp
 *
 * The signets are octets of the usual size (475), not signed: what is measured is the
 * store. Every tenth address has a second step. */
#include <keyd/base/be.h>
#include <keyd/base/clock.h>
#include <keyd/ledger/store.h>

#include <ftw.h>
#include <inttypes.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { SIGNET_SIZE = 475, CORE_SIZE = 201, STEPS = 10 };

#define MUST(x)                                                                        \
    do {                                                                               \
        if (!(x)) {                                                                    \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #x);                    \
            exit(1);                                                                   \
        }                                                                              \
    } while (0)

static struct kd_store *store;
static struct kd_audit_tail tail;
static struct kd_buf record;
static uint8_t last_fp[64];

static long
resident_kib(void)
{
    char line[128];
    long kib = 0;
    FILE *f = fopen("/proc/self/status", "r");

    MUST(f != NULL);
    while (fgets(line, sizeof line, f) != NULL)
        if (sscanf(line, "VmRSS: %ld", &kib) == 1)
            break;
    fclose(f);
    return kib;
}

static void
address_of(uint64_t user, char out[64])
{
    uint8_t n[8], h[16];

    kd_put_be64(n, user);
    crypto_generichash(h, sizeof h, n, sizeof n, NULL, 0);
    snprintf(out, 64, "u%08x%04x@example.com", kd_be32(h), kd_be16(h + 4));
}

static void
put_one(uint64_t user, uint32_t seq)
{
    static uint8_t signet[SIGNET_SIZE];
    struct kd_link_put link = {0};
    struct kd_signing_put signing = {.version = 1, .core_size = CORE_SIZE};
    struct kd_store_ack ack;
    char address[64];

    address_of(user, address);
    randombytes_buf(signet, sizeof signet);
    kd_put_be24(signet + 2, sizeof signet - 5);
    if (seq > 1)
        memcpy(link.predecessor, last_fp, 64);
    randombytes_buf(link.ssr_fp, sizeof link.ssr_fp);
    memcpy(last_fp, link.ssr_fp, 64);
    memcpy(link.signing_key, signet + 10, 32);
    memcpy(link.encryption_key, signet + 50, 32);
    crypto_hash_sha512(signing.core_fp, signet + 5, CORE_SIZE);
    randombytes_buf(signing.full_fp, 64);
    randombytes_buf(signing.id_fp, 64);
    signing.signet = kd_slice(signet, sizeof signet);
    struct kd_audit_record r = {
        .epoch = 1,
        .seq = tail.seq + 1,
        .time_ms = (uint64_t)kd_clock_wall_ms(),
        .op = KD_AUDIT_ISSUE_USER,
        .class = KD_AUDIT_CLASS_SUBMISSION,
        .principal = kd_slice_str("uid:1001"),
        .domain = kd_slice_str("example.com"),
        .has_key = true,
        .n_digests = 3,
        .address = kd_slice_str(address),
        .generation = 1,
        .link_seq = seq,
    };
    memcpy(r.instance, tail.instance, sizeof r.instance);
    memcpy(r.prev, tail.hash, sizeof r.prev);
    kd_buf_reset(&record);
    MUST(kd_audit_encode(&r, &record) == KD_OK);
    struct kd_store_item item = {
        .record = kd_buf_slice(&record), .link = &link, .signing = &signing};
    MUST(kd_store_add(store, &item, &ack) == KD_OK && ack.outcome == KD_OK);
    kd_store_tail(store, &tail);
}

static void
look_up(uint64_t users)
{
    enum { N = 20000 };
    struct kd_signet_row row;
    char address[64];
    int64_t start = kd_clock_ns();

    for (unsigned i = 0; i < N; i++) {
        address_of(randombytes_uniform((uint32_t)users), address);
        MUST(kd_store_user_current(store, kd_slice_str(address), &row) == KD_OK);
    }
    double us = (double)(kd_clock_ns() - start) / 1e3 / N;
    struct kd_issue_query q = {0};
    start = kd_clock_ns();
    for (unsigned i = 0; i < N; i++) {
        struct kd_issue_state st;
        address_of(randombytes_uniform((uint32_t)users), address);
        q.address = kd_slice_str(address);
        randombytes_buf(q.signing_key, 32);
        randombytes_buf(q.encryption_key, 32);
        q.has_idem = true;
        MUST(kd_store_issue_query(store, &q, &st) == KD_OK && st.has_head);
    }
    printf("look-up %.1f us, issue query %.1f us, resident %ld KiB\n", us,
           (double)(kd_clock_ns() - start) / 1e3 / N, resident_kib());
}

static void
fill(uint64_t n, unsigned batch)
{
    uint64_t users = 0;
    uint64_t in_part = 0;
    int64_t start = kd_clock_ns();
    int64_t tending = 0;

    for (uint64_t done = 0; done < n;) {
        MUST(kd_store_begin(store) == KD_OK);
        for (unsigned i = 0; i < batch && done < n; i++, done++, in_part++) {
            bool second = done % STEPS == STEPS - 1;
            put_one(second ? users - 1 : users, second ? 2 : 1);
            users += !second;
        }
        MUST(kd_store_commit(store) == KD_OK);
        int64_t t = kd_clock_ns();
        MUST(kd_store_tend(store) == KD_OK);
        tending += kd_clock_ns() - t;
        if (in_part < n / 5 && done < n)
            continue;
        struct kd_store_stats st;
        MUST(kd_store_stats(store, &st) == KD_OK);
        double s = (double)(kd_clock_ns() - start) / 1e9;
        printf("%8" PRIu64 " signets: %7.0f/s (%4.1f us each; moving the log %.0f %%), "
               "%6.1f MiB, %.0f octets a signet, resident %ld KiB\n",
               done, (double)in_part / s, 1e6 * s / (double)in_part,
               100 * (double)tending / 1e9 / s, (double)st.size / 1048576,
               (double)st.size / (double)done, resident_kib());
        fflush(stdout);
        in_part = 0;
        tending = 0;
        start = kd_clock_ns();
    }
    look_up(users);
}

static int
remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st;
    (void)type;
    (void)ftw;
    return remove(path);
}

int
main(int argc, char **argv)
{
    uint64_t n = argc > 1 ? strtoull(argv[1], NULL, 10) : 200000;
    unsigned batch = argc > 2 ? (unsigned)strtoul(argv[2], NULL, 10) : 32;
    char dir[] = "/tmp/bench-store-XXXXXX";
    char why[KD_STORE_WHY_MAX];
    struct kd_store_conf conf = {.create = true};
    static const enum kd_store_check checks[] = {KD_CHECK_NONE, KD_CHECK_QUICK,
                                                 KD_CHECK_FULL};

    MUST(sodium_init() >= 0 && batch > 0);
    conf.dir = argc > 3 ? argv[3] : mkdtemp(dir);
    MUST(conf.dir != NULL);
    kd_buf_init(&record, KD_AUDIT_RECORD_MAX);
    MUST(kd_store_open(&kd_store_sqlite, &conf, &store, why) == KD_OK);
    kd_store_tail(store, &tail);
    fill(n, batch);
    for (int i = 0; i < 3; i++) {
        kd_store_close(store);
        conf.check = checks[i];
        int64_t start = kd_clock_ms();
        MUST(kd_store_open(&kd_store_sqlite, &conf, &store, why) == KD_OK);
        printf("open with check %d: %" PRId64 " ms\n", i, kd_clock_ms() - start);
    }
    kd_store_close(store);
    kd_buf_free(&record);
    if (argc <= 3)
        nftw(conf.dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
    return 0;
}
