/* GenerateKey, RetireKey, ImportKey, PublicKeys: the vault's halves. */
#include "quorum.h"
#include "store_change.h"

#include <dime/dkey.h>
#include <keyd/base/memfd.h>
#include <keyd/base/secret.h>

#include <assert.h>

enum { KEYS_PAGE = 40 };

void
reply_keys(struct vault *v, struct task *t, struct store_change *c)
{
    struct kd_keys_done m = {0};
    struct kd_key_info info;
    struct kd_buf lines;

    (void)v;
    kd_buf_init(&lines, KD_CHAN_INLINE_MAX);
    for (size_t i = 0; i < c->n_keys; i++)
        if (kd_token_get(c->token, &c->keys[i], &info) == KD_OK)
            key_line_put(&lines, t, &info);
    m.keys = kd_buf_slice(&lines);
    kd_keys_done_put(&t->reply, &m);
    kd_buf_join(&t->reply, &lines);
    kd_buf_free(&lines);
}

static kd_err
activate(struct store_change *c, const struct kd_key_info *info)
{
    c->keys[c->n_keys++] = info->id;
    return kd_token_set_state(c->token, &info->id, KD_KEY_ACTIVE);
}

static kd_err
refuse_spec(struct task *t, kd_err err)
{
    switch ((int)err) {
    case KD_INVALID:
        return run_refuse(t, err, KD_REASON_KEY_SPEC);
    case KD_CONFLICT:
        return run_refuse(t, err, KD_REASON_KEY_EXISTS);
    case KD_UNSUPPORTED:
        return run_refuse(t, err, KD_REASON_TOKEN_LACKS);
    case KD_IO:
        return run_refuse(t, KD_UNAVAILABLE, KD_REASON_TOKEN_NOT_CREATED);
    case KD_NOT_FOUND:
        return run_refuse(t, err, KD_REASON_NO_SUCH_TOKEN);
    case KD_TOO_LARGE:
        return run_refuse(t, KD_UNSUPPORTED, KD_REASON_TOKEN_LIMIT);
    default:
        return run_of_device(t, err);
    }
}

/* --- in tokens --- */

struct places {
    size_t n;
    struct kd_slice names[KD_PLACES_MAX]; /* in the job */
    size_t i[KD_PLACES_MAX];              /* of the configuration */
    unsigned devices;                     /* as task_work_apart has them */
};

/* The tokens that a job names: of the configuration, and ours. False: the task has been
 * answered. */
static bool
places_of(struct vault *v, struct task *t, struct kd_slice list, struct places *out)
{
    struct kd_cur c = kd_cur(list);
    struct kd_store_token adopted;
    size_t place;

    *out = (struct places){0};
    for (; kd_cur_left(&c) != 0 && out->n < KD_PLACES_MAX; out->n++) {
        struct kd_slice name = kd_list_next(&c);
        if (tokens_find(v, name, &out->i[out->n]) != KD_OK)
            return describe_refuse(v, t, KD_NOT_FOUND, KD_REASON_NO_SUCH_TOKEN);
        if (tokens_adopted(v, name, &place, &adopted) != KD_OK)
            return describe_refuse(v, t, KD_CONFLICT, KD_REASON_TOKEN_NOT_ADOPTED);
        if (tokens_is_refused(v, out->i[out->n]))
            return describe_refuse(v, t, KD_UNAVAILABLE, KD_REASON_TOKEN_REFUSED);
        if (out->n == 1 && kd_slice_eq(name, out->names[0]))
            return describe_refuse(v, t, KD_INVALID, KD_REASON_KEY_SPEC);
        out->names[out->n] = name;
        out->devices |= 1u << place;
    }
    return kd_cur_end(&c) == KD_OK ||
           describe_refuse(v, t, KD_MALFORMED, KD_REASON_NONE);
}

/* Whether one of them cannot sign the largest message in one go. */
static bool
is_limited(const struct vault *v, const struct places *p)
{
    for (size_t i = 0; i < p->n; i++) {
        uint64_t limit = tokens_limit(v, p->i[i]);
        if (limit != 0 && limit < KD_MAIL_MESSAGE_MAX)
            return true;
    }
    return false;
}

/* D-084: a key for messages is sealed under a token that cannot sign them; which, for
 * one that signs users as well, would take it out of the token. False: the task has
 * been answered. */
static bool
seal_if_limited(struct vault *v, struct task *t, const struct places *p,
                const struct kd_key_spec *spec, uint8_t *sealed)
{
    bool signs_mail =
        spec->role == KD_KEY_ROLE_SOK && (spec->permissions & KD_PERM_MESSAGE) != 0;

    if (*sealed != 0 && (p->n == 0 || spec->alg != KD_ALG_ED25519))
        return describe_refuse(v, t, KD_INVALID, KD_REASON_KEY_SPEC);
    if (*sealed != 0 || !signs_mail || !is_limited(v, p))
        return true;
    if ((spec->permissions & KD_PERM_SIGNET) != 0)
        return describe_refuse(v, t, KD_UNSUPPORTED, KD_REASON_TOKEN_LIMIT);
    *sealed = 1;
    return true;
}

static void
describe_places(struct kd_buf *text, const struct places *p, bool is_sealed)
{
    for (size_t i = 0; i < p->n; i++)
        kd_fact_name(text, "token", p->names[i]);
    if (is_sealed)
        kd_fact_text(text, "sealed-under-token", "yes");
}

/* Makes a pair in a device, or takes one in; on a crypto thread. */
static kd_err
make(struct task *t, struct store_change *c, const struct kd_key_spec *spec,
     struct kd_slice secret)
{
    kd_err err = kd_token_make(c->token, spec, secret, &c->made[c->n_made]);

    if (err != KD_OK)
        return refuse_spec(t, err);
    c->n_made++;
    return KD_OK;
}

/* All that was made becomes the key store's; while nothing else works. */
static kd_err
take_made(struct task *t, struct store_change *c)
{
    struct kd_key_info info;
    kd_err err = KD_OK;

    for (size_t i = 0; err == KD_OK && i < c->n_made; i++) {
        err = kd_token_take(c->token, c->made[i], &info);
        /* An operator's key signs nothing for the organization. */
        if (err == KD_OK && info.alg == KD_ALG_ED25519 &&
            kd_quorum_has_key(&t->vault->approvals.quorum, info.public_key))
            return run_refuse(t, KD_INVALID, KD_REASON_KEY_REUSED);
        err = err == KD_OK ? activate(c, &info) : refuse_spec(t, err);
    }
    return err;
}

static void
in_tokens(struct store_change *c, const struct places *p, bool is_sealed,
          kd_err (*prepare)(struct task *t, struct store_change *c))
{
    c->prepare = prepare;
    c->devices = p->devices;
    c->change = take_made;
    c->notes = is_sealed ? KD_NOTE_SEALED : KD_NOTE_TOKEN;
}

/* --- generate --- */

static struct kd_key_spec
generate_spec(const struct kd_generate_job *job)
{
    return (struct kd_key_spec){.role = (enum kd_key_role)job->role,
                                .alg = (enum kd_key_alg)job->algorithm,
                                .permissions = job->permissions,
                                .domain = job->domain,
                                .bits = job->bits};
}

static kd_err
generate_change(struct task *t, struct store_change *c)
{
    const struct kd_key_spec spec = generate_spec(&c->job.generate);
    struct kd_key_info info;
    kd_err err = kd_token_generate(c->token, &spec, &info);

    return err == KD_OK ? activate(c, &info) : refuse_spec(t, err);
}

static kd_err
generate_prepare(struct task *t, struct store_change *c)
{
    struct kd_key_spec spec = generate_spec(&c->job.generate);
    struct kd_cur names = kd_cur(c->job.generate.tokens);

    for (size_t i = 0; kd_cur_left(&names) != 0; i++)
        spec.tokens[i] = kd_list_next(&names);
    spec.is_sealed = c->job.generate.sealed != 0;
    return make(t, c, &spec, kd_slice(NULL, 0));
}

/* A key that is made or named; false: the task has been answered. */
static bool
may_have_key(struct vault *v, struct task *t, unsigned role, const uint8_t *id)
{
    if (run_key_allowed(t, role, id) == KD_OK)
        return true;
    task_finish(v, t, KD_DENIED, t->reason);
    return false;
}

/* Whether a client may ask for such a key at all, and where; fills in what is chosen
 * for it. False: the task has been answered. */
static bool
check_generate(struct vault *v, struct task *t, struct kd_generate_job *job,
               struct places *p)
{
    const struct kd_key_spec spec = generate_spec(job);

    if (!run_allowed(v, t, job->domain) || !may_have_key(v, t, job->role, NULL))
        return false;
    /* What seals other keys is made with them, and audit keys are never in tokens. */
    if (job->role > KD_KEY_ROLE_AUDIT ||
        (job->role == KD_KEY_ROLE_AUDIT && job->tokens.n != 0) ||
        kd_key_spec_check(&spec) != KD_OK)
        return describe_refuse(v, t, KD_INVALID, KD_REASON_KEY_SPEC);
    if (!places_of(v, t, job->tokens, p))
        return false;
    if ((p->n == 0 && spec.alg == KD_ALG_RSA) || (p->n > 1 && job->sealed == 0))
        return describe_refuse(v, t, KD_UNSUPPORTED, KD_REASON_TOKEN_LACKS);
    return seal_if_limited(v, t, p, &spec, &job->sealed);
}

bool
describe_generate_key(struct vault *v, struct task *t, struct kd_buf *text)
{
    struct kd_generate_job job;
    struct places p;

    if (kd_generate_job_get(t->body, &job) != KD_OK)
        return describe_refuse(v, t, KD_MALFORMED, KD_REASON_NONE);
    if (!check_generate(v, t, &job, &p))
        return false;
    kd_fact_text(text, "role", kd_key_role_name((enum kd_key_role)job.role));
    kd_fact_text(text, "algorithm", kd_alg_name((enum kd_key_alg)job.algorithm));
    describe_permissions(text, job.permissions);
    kd_fact_name(text, "domain", job.domain);
    if (job.bits != 0)
        kd_fact_number(text, "bits", job.bits);
    describe_places(text, &p, job.sealed != 0);
    return true;
}

static void
generate_fresh(struct vault *v, struct task *t)
{
    struct store_change *c = t->data;
    struct places p;

    if (!check_generate(v, t, &c->job.generate, &p))
        return;
    if (p.n != 0)
        in_tokens(c, &p, c->job.generate.sealed != 0, generate_prepare);
    store_change_go(v, t);
}

void
run_generate_key(struct vault *v, struct task *t)
{
    struct store_change *c = store_change_new(v, t);

    if (c == NULL)
        return;
    if (kd_generate_job_get(t->body, &c->job.generate) != KD_OK) {
        task_finish(v, t, KD_MALFORMED, 0);
        return;
    }
    c->audit = KD_AUDIT_GENERATE_KEY;
    c->domain = c->job.generate.domain;
    c->fresh = generate_fresh;
    c->change = generate_change;
    c->reply = reply_keys;
    if (run_allowed(v, t, c->domain) && may_have_key(v, t, c->job.generate.role, NULL))
        store_change_start(v, t);
}

/* --- retire --- */

static kd_err
retire_change(struct task *t, struct store_change *c)
{
    kd_err err = kd_token_set_state(c->token, &c->keys[0], KD_KEY_RETAINED);

    if (err == KD_NOT_FOUND)
        return run_refuse(t, err, KD_REASON_NO_SUCH_KEY);
    if (err == KD_DENIED)
        return run_refuse(t, KD_CONFLICT, KD_REASON_KEY_STATE);
    return err;
}

/* The operation is about a domain, and a key that is not there has none: all that is
 * missing for a yes is then the domain. */
static bool
may_name_some(const struct task *t)
{
    return task_is_internal(t) ||
           kd_policy_explain(t->conf->is.policy, &t->caller, t->op,
                             kd_slice(NULL, 0)) == KD_POLICY_NO_DOMAIN;
}

/* Whose key it is decides whether the caller may; that there is none says nothing to
 * one who may not. */
bool
run_named_key(struct vault *v, struct task *t, const struct kd_key_id *id,
              struct kd_key_info *info)
{
    if (!may_name_some(t))
        return describe_refuse(v, t, KD_DENIED, KD_REASON_NOT_PERMITTED);
    if (!run_may_be_recorded(v, t))
        return false;
    if (v->token == NULL) {
        run_refuse_sealed(v, t);
        return false;
    }
    if (kd_token_get(v->token, id, info) != KD_OK)
        return describe_refuse(v, t, KD_NOT_FOUND, KD_REASON_NO_SUCH_KEY);
    return run_allowed(v, t, kd_slice(info->domain, info->domain_size)) &&
           may_have_key(v, t, info->role, info->id.octets);
}

bool
describe_retire_key(struct vault *v, struct task *t, struct kd_buf *text)
{
    struct kd_retire_job job;
    struct kd_key_info info;
    struct kd_key_id id;

    if (kd_retire_job_get(t->body, &job) != KD_OK)
        return describe_refuse(v, t, KD_MALFORMED, KD_REASON_NONE);
    memcpy(id.octets, job.id, sizeof id.octets);
    if (!run_named_key(v, t, &id, &info))
        return false;
    describe_key(text, "key", &info, true);
    describe_permissions(text, info.permissions);
    kd_fact_name(text, "domain", kd_slice(info.domain, info.domain_size));
    return true;
}

void
run_retire_key(struct vault *v, struct task *t)
{
    struct kd_key_info info;
    struct store_change *c = store_change_new(v, t);

    if (c == NULL)
        return;
    if (kd_retire_job_get(t->body, &c->job.retire) != KD_OK) {
        task_finish(v, t, KD_MALFORMED, 0);
        return;
    }
    c->audit = KD_AUDIT_RETIRE_KEY;
    c->change = retire_change;
    c->reply = reply_keys;
    c->n_keys = 1;
    memcpy(c->keys[0].octets, c->job.retire.id, sizeof c->keys[0].octets);
    if (run_named_key(v, t, &c->keys[0], &info))
        store_change_start(v, t);
}

/* --- import --- */

static kd_err
read_key_file(struct task *t, struct dime_dkey **out)
{
    size_t size;

    if (t->fd < 0 || kd_memfd_check(t->fd, DIME_DKEY_FILE_MAX, &size) != KD_OK ||
        size == 0)
        return run_refuse(t, KD_INVALID, KD_REASON_BAD_DESCRIPTOR);
    uint8_t *octets = kd_secret_new(size);
    if (octets == NULL)
        return KD_NOMEM;
    kd_err err = kd_memfd_read(t->fd, 0, octets, size);
    if (err == KD_OK)
        err = dime_dkey_load(kd_slice(octets, size), out, NULL);
    kd_secret_free(octets, size);
    if (err == KD_MALFORMED || err == KD_INVALID || err == KD_UNSUPPORTED ||
        err == KD_TOO_LARGE)
        return run_refuse(t, KD_INVALID, KD_REASON_BAD_KEY_FILE);
    return err;
}

static kd_err
import_one(struct task *t, struct store_change *c, const struct kd_key_spec *spec,
           const uint8_t secret[32])
{
    struct kd_key_info info;
    kd_err err = kd_token_import(c->token, spec, kd_slice(secret, 32), &info);

    /* An operator's key signs nothing for the organization. */
    if (err == KD_OK && info.alg == KD_ALG_ED25519 &&
        kd_quorum_has_key(&t->vault->approvals.quorum, info.public_key))
        return run_refuse(t, KD_INVALID, KD_REASON_KEY_REUSED);

    return err == KD_OK ? activate(c, &info) : refuse_spec(t, err);
}

/* What the file's keys become. */
static struct kd_key_spec
import_spec(const struct kd_import_job *job, bool is_encryption)
{
    return (struct kd_key_spec){
        .role = is_encryption ? KD_KEY_ROLE_ENC : (enum kd_key_role)job->signing_role,
        .alg = is_encryption ? KD_ALG_SECP256K1 : KD_ALG_ED25519,
        .permissions = is_encryption ? 0 : job->permissions,
        .domain = job->domain};
}

/* A file of the organization; a user's keys are never its. dime_dkey_free in every
 * case. */
static kd_err
read_org_file(struct task *t, struct dime_dkey **out)
{
    kd_err err = read_key_file(t, out);

    if (err == KD_OK && (*out)->kind != DIME_DKEY_ORG)
        err = run_refuse(t, KD_INVALID, KD_REASON_USER_KEY_FILE);
    return err;
}

static kd_err
import_change(struct task *t, struct store_change *c)
{
    const struct kd_import_job *job = &c->job.import;
    const struct kd_key_spec signing = import_spec(job, false);
    const struct kd_key_spec encryption = import_spec(job, true);
    struct dime_dkey *file = NULL;
    kd_err err = read_org_file(t, &file);

    if (err == KD_OK && job->signing_role != 0)
        err = import_one(t, c, &signing, file->seed);
    if (err == KD_OK && job->encryption != 0)
        err = import_one(t, c, &encryption, file->scalar);
    dime_dkey_free(file);
    if (err == KD_OK && c->n_keys == 0)
        err = run_refuse(t, KD_INVALID, KD_REASON_KEY_SPEC);
    return err;
}

static kd_err
import_prepare(struct task *t, struct store_change *c)
{
    const struct kd_import_job *job = &c->job.import;
    struct kd_key_spec signing = import_spec(job, false);
    struct kd_key_spec encryption = import_spec(job, true);
    struct kd_cur names = kd_cur(job->tokens);
    struct dime_dkey *file = NULL;
    kd_err err = read_org_file(t, &file);

    for (size_t i = 0; kd_cur_left(&names) != 0; i++)
        signing.tokens[i] = encryption.tokens[i] = kd_list_next(&names);
    signing.is_sealed = job->sealed != 0;
    if (err == KD_OK && job->signing_role != 0)
        err = make(t, c, &signing, kd_slice(file->seed, 32));
    if (err == KD_OK && job->encryption != 0)
        err = make(t, c, &encryption, kd_slice(file->scalar, 32));
    dime_dkey_free(file);
    if (err == KD_OK && c->n_made == 0)
        err = run_refuse(t, KD_INVALID, KD_REASON_KEY_SPEC);
    return err;
}

/* The keys in the file are named by their public halves. False: the task is answered.
 */
static bool
describe_key_file(struct vault *v, struct task *t, const struct kd_import_job *job,
                  struct kd_buf *text)
{
    struct dime_dkey *file = NULL;
    kd_err err = read_org_file(t, &file);

    if (err != KD_OK) {
        dime_dkey_free(file);
        task_finish(v, t, err, t->reason);
        return false;
    }
    if (job->signing_role != 0)
        kd_fact_hex(text, "signing-key", kd_slice(file->sign_pk, sizeof file->sign_pk));
    if (job->encryption != 0)
        kd_fact_hex(text, "encryption-key-public",
                    kd_slice(file->enc_pk, sizeof file->enc_pk));
    dime_dkey_free(file);
    return describe_secret(v, t, "key-file", text);
}

/* False: the task has been answered. */
static bool
may_import(struct vault *v, struct task *t, const struct kd_import_job *job)
{
    return run_allowed(v, t, job->domain) &&
           (job->signing_role == 0 || may_have_key(v, t, job->signing_role, NULL)) &&
           (job->encryption == 0 || may_have_key(v, t, KD_KEY_ROLE_ENC, NULL));
}

/* Where they are to go. False: the task has been answered. */
static bool
import_places(struct vault *v, struct task *t, struct kd_import_job *job,
              struct places *p)
{
    const struct kd_key_spec spec = import_spec(job, job->signing_role == 0);

    return places_of(v, t, job->tokens, p) &&
           seal_if_limited(v, t, p, &spec, &job->sealed);
}

bool
describe_import_key(struct vault *v, struct task *t, struct kd_buf *text)
{
    struct kd_import_job job;
    struct places p;

    if (kd_import_job_get(t->body, &job) != KD_OK)
        return describe_refuse(v, t, KD_MALFORMED, KD_REASON_NONE);
    if (!may_import(v, t, &job))
        return false;
    const struct kd_key_spec spec = import_spec(&job, false);
    if ((job.signing_role != 0 && kd_key_spec_check(&spec) != KD_OK) ||
        (job.signing_role == 0 && job.encryption == 0))
        return describe_refuse(v, t, KD_INVALID, KD_REASON_KEY_SPEC);
    if (!import_places(v, t, &job, &p))
        return false;
    kd_fact_text(text, "signing-role",
                 job.signing_role == 0 ? "none" : kd_key_role_name(spec.role));
    describe_permissions(text, job.permissions);
    kd_fact_text(text, "encryption-key", job.encryption != 0 ? "yes" : "no");
    kd_fact_name(text, "domain", job.domain);
    describe_places(text, &p, job.sealed != 0);
    return describe_key_file(v, t, &job, text);
}

static void
import_fresh(struct vault *v, struct task *t)
{
    struct store_change *c = t->data;
    struct places p;

    if (!import_places(v, t, &c->job.import, &p))
        return;
    if (p.n != 0)
        in_tokens(c, &p, c->job.import.sealed != 0, import_prepare);
    store_change_go(v, t);
}

void
run_import_key(struct vault *v, struct task *t)
{
    struct store_change *c = store_change_new(v, t);

    if (c == NULL)
        return;
    if (kd_import_job_get(t->body, &c->job.import) != KD_OK) {
        task_finish(v, t, KD_MALFORMED, 0);
        return;
    }
    c->audit = KD_AUDIT_IMPORT;
    c->domain = c->job.import.domain;
    c->fresh = import_fresh;
    c->change = import_change;
    c->reply = reply_keys;
    if (may_import(v, t, &c->job.import))
        store_change_start(v, t);
}

/* --- list --- */

/* The position behind the key named, or the start. */
static size_t
position_after(struct kd_token *token, struct kd_slice id)
{
    struct kd_key_info info;

    for (size_t i = 0; id.n != 0 && kd_token_at(token, i, &info) == KD_OK; i++)
        if (kd_slice_eq(kd_slice(info.id.octets, sizeof info.id.octets), id))
            return i + 1;
    return 0;
}

/* Reading the list waits for nobody, so the main thread does it. */
void
run_public_keys(struct vault *v, struct task *t)
{
    struct kd_keys_job job;
    struct kd_keys_done m = {0};
    struct kd_key_info info;
    struct kd_buf lines;

    if (kd_keys_job_get(t->body, &job) != KD_OK ||
        (job.after.n != 0 && job.after.n != KD_TOKEN_ID_SIZE)) {
        task_finish(v, t, KD_MALFORMED, 0);
        return;
    }
    if (!run_allowed(v, t, job.domain))
        return;
    if (v->token == NULL) {
        run_refuse_sealed(v, t);
        return;
    }
    kd_buf_init(&lines, KD_CHAN_INLINE_MAX);
    unsigned n = 0;
    for (size_t i = position_after(v->token, job.after);
         kd_token_at(v->token, i, &info) == KD_OK; i++) {
        if (job.domain.n != 0 &&
            !kd_slice_eq(kd_slice(info.domain, info.domain_size), job.domain))
            continue;
        if (n++ == KEYS_PAGE) {
            m.more = 1;
            break;
        }
        key_line_put(&lines, t, &info);
    }
    m.keys = kd_buf_slice(&lines);
    kd_keys_done_put(&t->reply, &m);
    kd_err err = lines.err;
    kd_buf_free(&lines);
    task_finish(v, t, err, 0);
}
