/* Large messages signed with a key of the software token, beside as many readings of
 * their octets by OpenSSL's SHA-512, in turns within one run. Milliseconds, best of a
 * few rounds. A ratio is readings by ours: above 1.00, ours costs less than that many
 * readings do. */
#include <keyd/base/clock.h>
#include <keyd/base/memfd.h>
#include <keyd/base/secret.h>
#include <keyd/base/sha256.h>
#include <keyd/token/soft_store.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

enum {
    ROUNDS = 5,
    MIB = 1 << 20,
    SIZE = 64 * MIB,
    ENVELOPE = 4096, /* up to chunk 34 */
    TAIL = 1024,     /* signatures */
    STEP = MIB,
    SECRET_ROOM = 65536,
};

static struct kd_token *token;
static struct kd_key_info key;
static int whole;

static void
must(bool ok)
{
    if (!ok)
        abort();
}

static void
make_token(void)
{
    static const struct kd_slot_secret credential = {
        .type = KD_SLOT_CREDENTIAL,
        .octets = {(const uint8_t *)"0123456789abcdef0123456789abcdef", 32},
    };
    const struct kd_key_spec spec = {.role = KD_KEY_ROLE_SOK,
                                     .alg = KD_ALG_ED25519,
                                     .permissions = 2,
                                     .domain = kd_slice_str("example.com")};

    must(kd_soft_create(&credential, &token) == KD_OK);
    must(kd_token_generate(token, &spec, &key) == KD_OK);
    must(kd_token_set_state(token, &key.id, KD_KEY_ACTIVE) == KD_OK);
}

static void
make_file(void)
{
    static const uint8_t head[] = {2, 0, 0, 33};
    uint8_t *octets = malloc(SIZE);

    must(octets != NULL);
    for (size_t i = 0; i < SIZE; i++)
        octets[i] = (uint8_t)(i * 2654435761u >> 13);
    memcpy(octets, head, sizeof head);
    octets[37] = 4;
    must(kd_memfd_seal(kd_slice(octets, SIZE), &whole) == KD_OK);
    free(octets);
}

static uint8_t *buffer;

static void
read_sha512(void)
{
    uint8_t digest[64];
    SHA512_CTX h;

    kd_ignore(SHA512_Init(&h)); /* always 1, as below */
    for (size_t at = 0; at < SIZE; at += DIME_PARTS_BUFFER) {
        must(kd_memfd_read(whole, at, buffer, DIME_PARTS_BUFFER) == KD_OK);
        kd_ignore(SHA512_Update(&h, buffer, DIME_PARTS_BUFFER));
    }
    kd_ignore(SHA512_Final(digest, &h));
}

static void
sign(unsigned n, const uint64_t *ends)
{
    const struct dime_stream_part part = {.fd = whole, .n = SIZE};
    struct kd_token_text text = {.purpose = KD_SIGN_MESSAGE,
                                 .parts = &part,
                                 .n_parts = 1,
                                 .max = SIZE,
                                 .n_ends = n};
    struct kd_token_stream *s;
    struct kd_token_sig sigs[KD_SIGN_AT_ONCE];
    uint8_t digests[KD_SIGN_AT_ONCE][KD_SIGN_DIGEST_SIZE];
    bool more = true;

    memcpy(text.ends, ends, n * sizeof *ends);
    must(kd_token_sign_begin(token, &key.id, &text, &s) == KD_OK);
    while (more)
        must(kd_token_sign_step(s, STEP, &more) == KD_OK);
    must(kd_token_sign_end(s, sigs, digests) == KD_OK);
    kd_token_sign_free(s);
}

static void
sign_one(void)
{
    const uint64_t ends[] = {SIZE};

    sign(1, ends);
}

/* A small text with large attachments. */
static void
sign_three(void)
{
    const uint64_t ends[] = {ENVELOPE, 2 * ENVELOPE, SIZE};

    sign(3, ends);
}

/* All of it is the text. */
static void
sign_three_large(void)
{
    const uint64_t ends[] = {ENVELOPE, SIZE - TAIL, SIZE};

    sign(3, ends);
}

static const struct {
    const char *name;
    void (*run)(void);
    unsigned readings; /* SHA-512 over all octets that it cannot do without */
} rows[] = {
    {"one reading by SHA-512", read_sha512, 1},
    {"255", sign_one, 3},
    {"248, 249 and 255, large attachments", sign_three, 3},
    {"248, 249 and 255, large text", sign_three_large, 5},
};
enum { N_ROWS = sizeof rows / sizeof *rows };

int
main(void)
{
    int64_t best[N_ROWS];

    must(kd_secret_setup(SECRET_ROOM) == KD_OK);
    must((buffer = malloc(DIME_PARTS_BUFFER)) != NULL);
    make_token();
    make_file();
    for (size_t i = 0; i < N_ROWS; i++)
        best[i] = INT64_MAX;
    for (unsigned round = 0; round < ROUNDS; round++)
        for (size_t i = 0; i < N_ROWS; i++) {
            int64_t since = kd_clock_ms();
            rows[i].run();
            int64_t took = kd_clock_ms() - since;
            if (took < best[i])
                best[i] = took;
        }
    for (size_t i = 0; i < N_ROWS; i++)
        printf("%-38s %5lld ms, %u readings: %.2f\n", rows[i].name, (long long)best[i],
               rows[i].readings, (double)best[0] * rows[i].readings / (double)best[i]);
    close(whole);
    free(buffer);
    kd_token_free(token);
    return 0;
}
