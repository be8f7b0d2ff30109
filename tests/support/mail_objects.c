/* Makes objects that only servers make, by the keys of the vectors, for tests of the
 * user's tool: bounces of alice's message from orgb.example to orga.example, and naked
 * mail to bob that orgb.example keeps.
 *
 *   mail_objects VECTORS DIRECTORY */
#include <dime/bounce.h>
#include <dime/dkey.h>
#include <dime/naked.h>
#include <keyd/base/secret.h>

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>

enum { SECRET_ROOM = 65536, FILE_ROOM = 1 << 20 };

static void
must(bool ok, const char *what)
{
    if (!ok) {
        fprintf(stderr, "mail_objects: %s\n", what);
        exit(2);
    }
}

static struct kd_slice
load(const char *dir, const char *name)
{
    char path[PATH_MAX];

    snprintf(path, sizeof path, "%s/libdime/%s", dir, name);
    FILE *f = fopen(path, "rb");
    uint8_t *p = malloc(FILE_ROOM);
    must(f != NULL && p != NULL, path);
    size_t n = fread(p, 1, FILE_ROOM, f);
    must(n > 0 && n < FILE_ROOM && fclose(f) == 0, path);
    return kd_slice(p, n);
}

static void
save(const char *dir, const char *name, const struct kd_buf *b)
{
    char path[PATH_MAX];

    snprintf(path, sizeof path, "%s/%s", dir, name);
    FILE *f = fopen(path, "wb");
    must(b->err == KD_OK && f != NULL && fwrite(b->p, 1, b->n, f) == b->n &&
             fclose(f) == 0,
         path);
}

static struct dime_dkey *
keys_of(const char *dir, const char *name)
{
    struct dime_dkey *key;

    struct kd_slice file = load(dir, name);
    must(dime_dkey_load(file, &key, NULL) == KD_OK, name);
    free((void *)(uintptr_t)file.p);
    return key;
}

static kd_err
sign(void *ctx, struct kd_slice message, uint8_t sig[DIME_SIG_SIZE])
{
    const struct dime_dkey *key = ctx;

    return dime_ed25519_sign(key->seed, key->sign_pk, message, sig);
}

/* domain: that says it bounces; by: the key file of who signs that. */
static void
make_bounce(const char *vectors, const char *out, const char *name, const char *domain,
            const char *by, enum dime_return part)
{
    struct kd_slice octets = load(vectors, "messages/m1.signed.bin");
    const struct dime_source source = dime_source_of(octets);
    struct dime_dkey *orga = keys_of(vectors, "signets/orga.key");
    struct dime_dkey *bouncer = keys_of(vectors, by);
    struct dime_message m;
    struct kd_buf b;
    const struct dime_report report = {
        .domain = kd_slice_str(domain),
        .klass = 5,
        .subject = 2,
        .detail = 2,
        .time = 1704067200,
        .message = kd_slice_str("pHYQF1IrjqpYfaVMecpSsjDBQRMpGpLmwvPdP2hNsleJzjXgCAs2"
                                "q1Aq7RkNIcR+QWKeLDc8eHQF9oinDQylYQ"),
        .part = part};
    const struct dime_bounce_plan plan = {.origin = orga->enc_pk,
                                          .report = &report,
                                          .message = &m,
                                          .organization = {sign, bouncer}};

    kd_buf_init(&b, FILE_ROOM);
    must(dime_message_parse(&source, FILE_ROOM, &m, NULL) == KD_OK, "m1.signed.bin");
    must(dime_bounce_build(&plan, &b) == KD_OK, name);
    save(out, name, &b);
    kd_buf_free(&b);
    dime_dkey_free(orga);
    dime_dkey_free(bouncer);
    free((void *)(uintptr_t)octets.p);
}

static void
make_naked(const char *vectors, const char *out)
{
    struct dime_dkey *bob = keys_of(vectors, "signets/bob.key");
    struct dime_dkey *orgb = keys_of(vectors, "signets/orgb.key");
    const struct dime_content text = {
        .type = DIME_CHUNK_DISPLAY_CONTENT,
        .data = dime_source_of(kd_slice_str("Hello from the old world.\r\n"))};
    const struct dime_naked_plan plan = {
        .recipient = bob->enc_pk,
        .common = kd_slice_str("Date: Mon, 01 Jan 2024 00:00:00 +0000\r\n"
                               "To: bob@orgb.example\r\n"
                               "From: eve@elsewhere.example\r\n"
                               "Subject: naked\r\n"),
        .headers = kd_slice_str("MIME-Version: 1.0\r\n"),
        .contents = &text,
        .n_contents = 1};
    struct dime_naked n;
    struct kd_buf b;

    kd_buf_init(&b, FILE_ROOM);
    must(dime_naked_build(&plan, &b) == KD_OK, "naked mail");
    const struct dime_source source = dime_source_of(kd_buf_slice(&b));
    must(dime_naked_parse(&source, FILE_ROOM, &n, NULL) == KD_OK, "naked mail");
    must(dime_naked_sign(&n, b.p, (struct dime_signer){sign, orgb}) == KD_OK,
         "naked mail");
    save(out, "naked.bin", &b);
    kd_buf_free(&b);
    dime_dkey_free(bob);
    dime_dkey_free(orgb);
}

int
main(int argc, char **argv)
{
    must(argc == 3, "VECTORS DIRECTORY are wanted");
    must(kd_secret_setup(SECRET_ROOM) == KD_OK, "secret memory");
    make_bounce(argv[1], argv[2], "bounce.metadata.bin", "orgb.example",
                "signets/orgb.key", DIME_RETURN_METADATA);
    make_bounce(argv[1], argv[2], "bounce.message.bin", "orgb.example",
                "signets/orgb.key", DIME_RETURN_MESSAGE);
    make_bounce(argv[1], argv[2], "bounce.other.bin", "orga.example",
                "signets/orgb.key", DIME_RETURN_DISPLAY);
    make_bounce(argv[1], argv[2], "bounce.stranger.bin", "orga.example",
                "signets/orga.key", DIME_RETURN_METADATA);
    make_naked(argv[1], argv[2]);
    return 0;
}
