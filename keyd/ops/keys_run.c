/* GenerateKey, RetireKey, ImportKey, PublicKeys: the vault's halves. */
#include "quorum.h"
#include "store_change.h"

#include <dime/dkey.h>
#include <keyd/base/memfd.h>
#include <keyd/base/secret.h>

#include <assert.h>

enum { KEYS_PAGE = 40 };

static void
reply_keys(struct vault *v, struct task *t, struct store_change *c)
{
    struct kd_keys_done m = {0};
    struct kd_key_info info;
    struct kd_buf lines;

    (void)v;
    kd_buf_init(&lines, KD_CHAN_INLINE_MAX);
    for (size_t i = 0; i < c->n_keys; i++)
        if (kd_token_get(c->token, &c->keys[i], &info) == KD_OK)
            key_line_put(&lines, &info);
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
    if (err == KD_INVALID)
        return run_refuse(t, err, KD_REASON_KEY_SPEC);
    if (err == KD_CONFLICT)
        return run_refuse(t, err, KD_REASON_KEY_EXISTS);
    return err;
}

/* --- generate --- */

static kd_err
generate_change(struct task *t, struct store_change *c)
{
    const struct kd_key_spec spec = {
        .role = (enum kd_key_role)c->job.generate.role,
        .alg = (enum kd_key_alg)c->job.generate.algorithm,
        .permissions = c->job.generate.permissions,
        .domain = c->job.generate.domain,
    };
    struct kd_key_info info;
    kd_err err = kd_token_generate(c->token, &spec, &info);

    return err == KD_OK ? activate(c, &info) : refuse_spec(t, err);
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

bool
describe_generate_key(struct vault *v, struct task *t, struct kd_buf *text)
{
    struct kd_generate_job job;

    if (kd_generate_job_get(t->body, &job) != KD_OK)
        return describe_refuse(v, t, KD_MALFORMED, KD_REASON_NONE);
    if (!run_allowed(v, t, job.domain) || !may_have_key(v, t, job.role, NULL))
        return false;
    const struct kd_key_spec spec = {.role = (enum kd_key_role)job.role,
                                     .alg = (enum kd_key_alg)job.algorithm,
                                     .permissions = job.permissions,
                                     .domain = job.domain};
    if (kd_key_spec_check(&spec) != KD_OK)
        return describe_refuse(v, t, KD_INVALID, KD_REASON_KEY_SPEC);
    kd_fact_text(text, "role", kd_key_role_name(spec.role));
    kd_fact_text(text, "algorithm", kd_alg_name(spec.alg));
    describe_permissions(text, job.permissions);
    kd_fact_name(text, "domain", job.domain);
    return true;
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
may_retire_some(const struct task *t)
{
    return task_is_internal(t) ||
           kd_policy_explain(t->conf->is.policy, &t->caller, t->op,
                             kd_slice(NULL, 0)) == KD_POLICY_NO_DOMAIN;
}

/* Whose key it is decides whether the caller may; that there is none says nothing to
 * one who may not. False: the task is answered. */
static bool
retired_key(struct vault *v, struct task *t, const struct kd_key_id *id,
            struct kd_key_info *info)
{
    if (!may_retire_some(t))
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
    if (!retired_key(v, t, &id, &info))
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
    if (retired_key(v, t, &c->keys[0], &info))
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

static kd_err
import_change(struct task *t, struct store_change *c)
{
    const struct kd_import_job *job = &c->job.import;
    const struct kd_key_spec signing = {.role = (enum kd_key_role)job->signing_role,
                                        .alg = KD_ALG_ED25519,
                                        .permissions = job->permissions,
                                        .domain = job->domain};
    const struct kd_key_spec encryption = {
        .role = KD_KEY_ROLE_ENC, .alg = KD_ALG_SECP256K1, .domain = job->domain};
    struct dime_dkey *file = NULL;
    kd_err err;

    if ((err = read_key_file(t, &file)) != KD_OK)
        return err;
    assert(file != NULL);
    /* A user's keys are never the organization's. */
    if (file->kind != DIME_DKEY_ORG)
        err = run_refuse(t, KD_INVALID, KD_REASON_BAD_KEY_FILE);
    if (err == KD_OK && job->signing_role != 0)
        err = import_one(t, c, &signing, file->seed);
    if (err == KD_OK && job->encryption != 0)
        err = import_one(t, c, &encryption, file->scalar);
    dime_dkey_free(file);
    if (err == KD_OK && c->n_keys == 0)
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
    kd_err err = read_key_file(t, &file);

    if (err == KD_OK && file->kind != DIME_DKEY_ORG)
        err = run_refuse(t, KD_INVALID, KD_REASON_BAD_KEY_FILE);
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

bool
describe_import_key(struct vault *v, struct task *t, struct kd_buf *text)
{
    struct kd_import_job job;

    if (kd_import_job_get(t->body, &job) != KD_OK)
        return describe_refuse(v, t, KD_MALFORMED, KD_REASON_NONE);
    if (!may_import(v, t, &job))
        return false;
    const struct kd_key_spec spec = {.role = (enum kd_key_role)job.signing_role,
                                     .alg = KD_ALG_ED25519,
                                     .permissions = job.permissions,
                                     .domain = job.domain};
    if ((job.signing_role != 0 && kd_key_spec_check(&spec) != KD_OK) ||
        (job.signing_role == 0 && job.encryption == 0))
        return describe_refuse(v, t, KD_INVALID, KD_REASON_KEY_SPEC);
    kd_fact_text(text, "signing-role",
                 job.signing_role == 0 ? "none" : kd_key_role_name(spec.role));
    describe_permissions(text, job.permissions);
    kd_fact_text(text, "encryption-key", job.encryption != 0 ? "yes" : "no");
    kd_fact_name(text, "domain", job.domain);
    return describe_key_file(v, t, &job, text);
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
        key_line_put(&lines, &info);
    }
    m.keys = kd_buf_slice(&lines);
    kd_keys_done_put(&t->reply, &m);
    kd_err err = lines.err;
    kd_buf_free(&lines);
    task_finish(v, t, err, 0);
}
