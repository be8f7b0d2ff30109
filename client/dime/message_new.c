/* dime message new: mail to a message as its author makes it, for his organization to
 * sign (D-119). */
#include "signets.h"

#include <dime/common.h>
#include <dime/ed25519.h>
#include <dime/envelope.h>
#include <dime/fingerprint.h>
#include <dime/gzip.h>
#include <dime/message_build.h>
#include <dime/mime.h>
#include <keyd/base/secret.h>
#include <limits.h>
#include <stdlib.h>
#include <unistd.h>

enum { PATH_SIZE = PATH_MAX + 1 };

struct new_job {
    const struct options *o;
    char key_path[PATH_SIZE], signet_path[PATH_SIZE]; /* of --from */
    struct signets signets;
    struct dime_dkey *keys;
    struct kd_buf mail;
    bool has_mime;
    struct dime_mime mime;
    struct kd_buf texts[3]; /* chunks 4, 5 and 33 */
    struct kd_buf *packed;  /* data of parts that are compressed */
    struct dime_content *contents;
    size_t n_contents;
    struct kd_buf message;
};

enum { ORIGIN, DESTINATION, COMMON };

static int
refuse(const char *what, const char *why)
{
    complain(what, why);
    return FAILS;
}

static int
no_memory(kd_err err)
{
    complain("message new", kd_err_text(err));
    return TROUBLE;
}

/* --- What is given ------------------------------------------------------------------
 */

/* KEYFILE,SIGNET; a comma of a name is before the last one. */
static bool
split_from(struct new_job *j)
{
    const char *from = j->o->from, *comma = strrchr(from, ',');
    size_t n = comma == NULL ? 0 : (size_t)(comma - from);

    if (n == 0 || n >= PATH_SIZE || comma[1] == '\0' || strlen(comma + 1) >= PATH_SIZE)
        return false;
    memcpy(j->key_path, from, n);
    j->key_path[n] = '\0';
    memcpy(j->signet_path, comma + 1, strlen(comma + 1) + 1);
    return true;
}

static int
load_signets(struct new_job *j)
{
    const struct options *o = j->o;
    const char *const paths[SIGNET_ROLES] = {[SIGNET_ORIGIN] = o->origin,
                                             [SIGNET_DESTINATION] = o->destination,
                                             [SIGNET_AUTHOR] = j->signet_path,
                                             [SIGNET_RECIPIENT] = o->to};
    const char *why = NULL;
    int status = signets_load(&j->signets, paths, o, &why);

    if (status == FAILS)
        emit(stderr, "%s: %s\n", tool_name, why);
    if (status == HOLDS && !j->signets.anchored[SIGNET_ORIGIN])
        complain(o->origin, "warning: not anchored: no --pok for that domain");
    if (status == HOLDS && !j->signets.anchored[SIGNET_DESTINATION])
        complain(o->destination, "warning: not anchored: no --pok for that domain");

    for (int role = 0; status == HOLDS && role < SIGNET_ROLES; role++)
        if (signets_get(&j->signets, (enum signet_role)role)->identifier.n == 0)
            status = refuse(paths[role], "the signet does not say whose it is");
    return status;
}

static int
load_keys(struct new_job *j)
{
    const struct dime_signet *own = signets_get(&j->signets, SIGNET_AUTHOR);
    const char *why = NULL;
    int status = keys_load(j->key_path, &j->keys, &why);

    if (status == FAILS)
        return refuse(j->key_path, why);
    if (status != HOLDS)
        return status;
    if (memcmp(j->keys->sign_pk, own->sign_key, sizeof own->sign_key) != 0 ||
        memcmp(j->keys->enc_pk, own->enc_key, sizeof own->enc_key) != 0)
        return refuse(j->key_path, "these are not the keys of the author's signet");
    return HOLDS;
}

/* A text file of Unix: mail has CR LF, and only that comes back as it was. */
static kd_err
turn_line_ends(struct kd_buf *mail)
{
    struct kd_slice s = kd_buf_slice(mail);
    struct kd_buf out;

    if (s.n == 0 || memchr(s.p, '\r', s.n) != NULL || memchr(s.p, '\n', s.n) == NULL)
        return KD_OK;
    kd_buf_init(&out, mail->max);
    for (size_t at = 0; at < s.n;) {
        const uint8_t *end = memchr(s.p + at, '\n', s.n - at);
        size_t n = end == NULL ? s.n - at : (size_t)(end - s.p) - at;
        kd_buf_put(&out, kd_slice(s.p + at, n));
        at += n;
        if (end != NULL) {
            kd_buf_put(&out, kd_slice_str("\r\n"));
            at++;
        }
    }
    if (out.err != KD_OK) {
        kd_err err = out.err;
        kd_buf_free(&out);
        return err;
    }
    kd_buf_free(mail);
    *mail = out;
    return KD_OK;
}

static int
load_mail(struct new_job *j)
{
    const char *path = j->o->file, *why = NULL;
    int fd = open_read(path);

    if (fd < 0)
        return trouble(path);
    kd_buf_init(&j->mail, DIME_MIME_MAIL_MAX);
    int status = file_read(fd, path, &j->mail, &why);
    close_read(fd);
    if (status == FAILS)
        return refuse(path, why);
    if (status != HOLDS)
        return status;
    kd_err err = turn_line_ends(&j->mail);
    if (err == KD_OK)
        err = dime_mime_import(kd_buf_slice(&j->mail), &j->mime);
    if (err == KD_TOO_LARGE)
        return refuse(path, "larger than a mail can be");
    if (err != KD_OK)
        return no_memory(err);
    j->has_mime = true;
    if (dime_mime_has_field(kd_buf_slice(&j->mail), "Bcc") ||
        dime_mime_has_field(kd_buf_slice(&j->mail), "Resent-Bcc"))
        complain(path, "warning: the recipient will read the field Bcc");
    kd_buf_free(&j->mail); /* the import borrows nothing from it */
    if (j->mime.raw != DIME_MIME_MAPPED)
        emit(stderr, "%s: %s: carried whole, as one part: %s\n", tool_name, path,
             dime_mime_raw_text(j->mime.raw));
    if (!dime_mime_is_from(j->mime.content.common.value[DIME_COMMON_FROM],
                           signets_get(&j->signets, SIGNET_AUTHOR)->identifier))
        complain(path, "warning: From does not name the author"); /* D-129 */
    return HOLDS;
}

/* --- What is made -------------------------------------------------------------------
 */

/* Core for users, full for organizations (D-111). */
static kd_err
put_envelope(struct new_job *j, size_t i, enum dime_envelope_kind kind,
             enum signet_role user, enum signet_role org)
{
    const struct dime_signet *u = signets_get(&j->signets, user);
    const struct dime_signet *g = signets_get(&j->signets, org);
    uint8_t fp[DIME_FINGERPRINT_SIZE];
    char user_fp[DIME_FINGERPRINT_CHARS + 1], org_fp[DIME_FINGERPRINT_CHARS + 1];
    kd_err err;

    if ((err = dime_fingerprint(u, DIME_PART_CORE, fp)) != KD_OK)
        return err;
    dime_fingerprint_text(fp, user_fp);
    if ((err = dime_fingerprint(g, DIME_PART_FULL, fp)) != KD_OK)
        return err;
    dime_fingerprint_text(fp, org_fp);
    const struct dime_envelope e = {
        .address = u->identifier,
        .address_fp = kd_slice(user_fp, DIME_FINGERPRINT_CHARS),
        .domain = g->identifier,
        .domain_fp = kd_slice(org_fp, DIME_FINGERPRINT_CHARS)};
    return dime_envelope_put(kind, &e, &j->texts[i]);
}

static kd_err
put_texts(struct new_job *j)
{
    kd_err err = put_envelope(j, ORIGIN, DIME_ENVELOPE_ORIGIN, SIGNET_AUTHOR,
                              SIGNET_DESTINATION);

    if (err == KD_OK)
        err = put_envelope(j, DESTINATION, DIME_ENVELOPE_DESTINATION, SIGNET_RECIPIENT,
                           SIGNET_ORIGIN);
    if (err == KD_OK)
        err = dime_common_put(&j->mime.content.common, &j->texts[COMMON]);
    for (size_t i = 0; err == KD_OK && i < 3; i++)
        err = j->texts[i].err;
    return err;
}

static kd_err
put_contents(struct new_job *j)
{
    const struct dime_mime_content *m = &j->mime.content;
    enum dime_gzip_strategy how =
        (j->o->flags & OPT_NO_GZIP) != 0 ? DIME_GZIP_NEVER : DIME_GZIP_SMALLER;
    uint64_t left = DIME_MESSAGE_MAX; /* decompressed: no reader takes more (D-122) */

    j->packed = calloc(m->n_parts + 1, sizeof *j->packed);
    j->contents = calloc(m->n_parts + 1, sizeof *j->contents);
    if (j->packed == NULL || j->contents == NULL)
        return KD_NOMEM;
    for (size_t i = 0; i < m->n_parts; i++) {
        bool compressed = false;
        if (m->parts[i].data.n > left)
            return KD_TOO_LARGE;
        left -= m->parts[i].data.n;
        kd_buf_init(&j->packed[i], DIME_MESSAGE_MAX);
        j->n_contents++;
        kd_err err =
            dime_gzip_choose(how, m->parts[i].data, &j->packed[i], &compressed);
        if (err != KD_OK)
            return err;
        j->contents[i] =
            (struct dime_content){.type = m->parts[i].type,
                                  .flags = compressed ? DIME_PAYLOAD_GZIP : 0,
                                  .data = dime_source_of(kd_buf_slice(&j->packed[i]))};
    }
    return KD_OK;
}

static kd_err
build(struct new_job *j, const struct dime_ed25519_secret *author)
{
    const struct dime_plan plan = {
        .author = author,
        .keys = {[DIME_AUTHOR] = signets_get(&j->signets, SIGNET_AUTHOR)->enc_key,
                 [DIME_ORIGIN] = signets_get(&j->signets, SIGNET_ORIGIN)->enc_key,
                 [DIME_DESTINATION] =
                     signets_get(&j->signets, SIGNET_DESTINATION)->enc_key,
                 [DIME_RECIPIENT] =
                     signets_get(&j->signets, SIGNET_RECIPIENT)->enc_key},
        .origin = kd_buf_slice(&j->texts[ORIGIN]),
        .destination = kd_buf_slice(&j->texts[DESTINATION]),
        .common = kd_buf_slice(&j->texts[COMMON]),
        .headers = j->mime.content.headers,
        .contents = j->contents,
        .n_contents = j->n_contents,
        .metadata_bounce = true,
        .display_bounce = (j->o->flags & OPT_DISPLAY_BOUNCE) != 0,
    };

    return dime_message_build(&plan, &j->message);
}

static int
make(struct new_job *j)
{
    struct dime_ed25519_secret *author = kd_secret_new(sizeof *author);
    kd_err err = author == NULL ? KD_NOMEM : KD_OK;

    if (err == KD_OK)
        err = put_texts(j);
    if (err == KD_OK)
        err = put_contents(j);
    if (err == KD_OK) {
        dime_ed25519_secret_init(author, j->keys->seed);
        err = build(j, author);
    }
    kd_secret_free(author, sizeof *author);
    if (err == KD_TOO_LARGE)
        return refuse(j->o->file, "the message would be larger than the limit");
    return err == KD_OK ? HOLDS : no_memory(err);
}

/* What reads standard output may not take octets of all kinds (DM-4). */
static int
write_out(const struct new_job *j)
{
    const struct options *o = j->o;
    bool is_stream = o->out == NULL || strcmp(o->out, "-") == 0;
    bool armoured =
        (o->flags & OPT_ARMOR) != 0 || (is_stream && (o->flags & OPT_BINARY) == 0);

    return object_write(o->out, kd_buf_slice(&j->message), armoured);
}

static void
new_job_free(struct new_job *j)
{
    kd_buf_free(&j->message);
    for (size_t i = 0; i < j->n_contents; i++)
        kd_buf_free(&j->packed[i]);
    free(j->packed);
    free(j->contents);
    for (size_t i = 0; i < 3; i++)
        kd_buf_free(&j->texts[i]);
    if (j->has_mime)
        dime_mime_free(&j->mime);
    kd_buf_free(&j->mail);
    dime_dkey_free(j->keys);
    signets_free(&j->signets);
    free(j);
}

int
verb_message_new(const struct options *o)
{
    struct new_job *j = calloc(1, sizeof *j);
    unsigned forms = o->flags & (OPT_ARMOR | OPT_BINARY);

    if (j == NULL)
        return no_memory(KD_NOMEM);
    j->o = o;
    kd_buf_init(&j->message, DIME_MESSAGE_MAX);
    kd_buf_init(&j->texts[ORIGIN], DIME_ENVELOPE_MAX);
    kd_buf_init(&j->texts[DESTINATION], DIME_ENVELOPE_MAX);
    kd_buf_init(&j->texts[COMMON], DIME_COMMON_MAX);
    int status = TROUBLE;
    if (o->from == NULL || o->to == NULL || o->origin == NULL || o->destination == NULL)
        complain("message new", "--from, --to, --origin and --destination are needed");
    else if (forms == (OPT_ARMOR | OPT_BINARY))
        complain("message new", "--armor or --binary, not both");
    else if (!split_from(j))
        complain("--from", "KEYFILE,SIGNET is wanted");
    else
        status = load_signets(j);
    if (status == HOLDS)
        status = load_keys(j);
    if (status == HOLDS)
        status = load_mail(j);
    if (status == HOLDS)
        status = make(j);
    if (status == HOLDS)
        status = write_out(j);
    new_job_free(j);
    return status;
}
