/* One operation at a time, and what is said when it was not done. */
#include "keydctl.h"

#include <keyd/base/secret.h>
#include <keyd/job/reasons.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { PAGES_MAX = 65536 };

/* For each status: the exit status, what became of the request, and a sentence for when
 * keyd gave no reason. */
static const struct {
    enum keyd_status status;
    int exit;
    const char *outcome;
    const char *sentence;
} endings[] = {
    {KEYD_INVALID, EX_DATAERR, "refused", "the request is wrong"},
    {KEYD_DENIED, EX_NOPERM, "refused", "policy does not permit this"},
    {KEYD_NOT_FOUND, EX_NOUSER, "refused", "there is none of that name"},
    {KEYD_CONFLICT, EX_DATAERR, "refused", "another object holds this place"},
    {KEYD_UNAVAILABLE, EX_UNAVAILABLE, "not done", "a part of keyd is not there now"},
    {KEYD_SEALED, EX_UNAVAILABLE, "not done", "the keys are sealed"},
    {KEYD_BUSY, EX_TEMPFAIL, "not done", "a limit is reached; try again later"},
    {KEYD_UNKNOWN_OUTCOME, EX_TEMPFAIL, "unknown", "it may have been done"},
    {KEYD_FAILED, EX_SOFTWARE, "failed", "a fault in keyd; its log says more"},
    {KEYD_UNSUPPORTED, EX_PROTOCOL, "refused", "not an operation of this socket"},
    {KEYD_DEADLINE, EX_TEMPFAIL, "not done", "the time was not enough"},
    {KEYD_APPROVAL_NEEDED, EX_TEMPFAIL, "waiting", "other operators must approve"},
    {KEYD_NOMEM, EX_OSERR, "not done", "out of memory or descriptors"},
    {KEYD_PROTOCOL, EX_PROTOCOL, "failed", "what answers does not speak the protocol"},
    {KEYD_USAGE, EX_DATAERR, "not asked", "a value is beyond what the protocol takes"},
};
enum { N_ENDINGS = sizeof endings / sizeof endings[0] };

/* --- connection ---------------------------------------------------------------------
 */

/* detail: a word of keyd's, which may say more than the status. */
static int
not_connected(const struct options *o, enum keyd_status status, const char *detail)
{
    const char *why = keyd_client_status_text(status);

    switch ((int)status) {
    case KEYD_UNAVAILABLE:
        why = "no keyd answers there";
        break;
    case KEYD_DENIED:
        why = strcmp(detail, "principal-stopped") == 0
                  ? kd_reason_text(kd_slice_str(detail))
                  : "not for this user";
        break;
    case KEYD_DEADLINE:
        why = "no answer in time";
        break;
    case KEYD_USAGE:
        why = "not the path of a socket";
        break;
    }
    complain(o->socket, why);
    if (o->json) {
        json_t *j = json_pack("{s:s, s:s}", "status", keyd_client_status_text(status),
                              "reason", why);
        kd_ignore(json_done(j, EX_OK)); /* the exit status says it too */
    }
    for (size_t i = 0; i < N_ENDINGS; i++)
        if (endings[i].status == status)
            return endings[i].exit;
    return EX_SOFTWARE;
}

/* --- endpoints ----------------------------------------------------------------------
 */

enum { PATH_SIZE = 1024 };

static bool
file_in(const char *directory, const char *name, char out[PATH_SIZE])
{
    int n = snprintf(out, PATH_SIZE, "%s/%s", directory, name);

    return n > 0 && n < PATH_SIZE;
}

static enum keyd_status
add_endpoints(struct session *s)
{
    const struct options *o = s->o;
    char certificate[PATH_SIZE], key[PATH_SIZE], ca[PATH_SIZE];
    struct keyd_tls tls = {.certificate = certificate, .key = key, .ca = ca};
    const struct keyd_options options = {.fail_at_once = true};
    enum keyd_status status = keyd_client_set_options(s->client, &options);

    if (o->tls != NULL &&
        (!file_in(o->tls, "certificate.pem", certificate) ||
         !file_in(o->tls, "key.pem", key) || !file_in(o->tls, "ca.pem", ca)))
        return KEYD_USAGE;
    const struct keyd_tls *used = o->tls == NULL ? NULL : &tls;
    if (status == KEYD_OK && o->endpoints != NULL)
        status = keyd_client_add_endpoints(s->client, o->endpoints, used);
    for (size_t i = 0; status == KEYD_OK && i < o->endpoint.n; i++)
        status = keyd_client_add_endpoints(s->client, o->endpoint.items[i], used);
    return status;
}

static int
use_endpoints(struct session *s)
{
    enum keyd_status status = add_endpoints(s);

    if (status == KEYD_OK)
        return EX_OK;
    complain("--endpoint", keyd_client_detail(s->client));
    return status == KEYD_USAGE   ? EX_USAGE
           : status == KEYD_NOMEM ? EX_OSERR
                                  : EX_NOINPUT;
}

int
session_open(struct session *s, const struct options *o)
{
    enum keyd_status status = KEYD_NOMEM;

    *s = (struct session){.client = keyd_client_new(), .o = o};
    if (s->client != NULL)
        status = keyd_client_set_name(s->client, "keydctl " KEYD_VERSION);
    if (status == KEYD_OK)
        status = keyd_client_set_deadline(s->client, o->timeout_ms);
    if (status == KEYD_OK && o->is_many)
        return use_endpoints(s);
    if (status == KEYD_OK)
        status = keyd_client_connect(s->client, o->socket, (int)o->timeout_ms);
    return status == KEYD_OK
               ? EX_OK
               : not_connected(o, status,
                               s->client == NULL ? "" : keyd_client_detail(s->client));
}

void
session_close(struct session *s)
{
    keyd_client_free(s->client);
    s->client = NULL;
}

/* --- operations ---------------------------------------------------------------------
 */

static bool
is_changing(enum keyd_op op)
{
    switch (op) {
    case KEYD_OP_ISSUE_USER_SIGNET:
    case KEYD_OP_TOKEN_INIT:
    case KEYD_OP_ADD_UNSEAL_SLOT:
    case KEYD_OP_GENERATE_KEY:
    case KEYD_OP_RETIRE_KEY:
    case KEYD_OP_IMPORT_KEY:
    case KEYD_OP_ISSUE_ORG_SIGNET:
    case KEYD_OP_SET_QUORUM:
    case KEYD_OP_FREEZE_ADDRESS:
    case KEYD_OP_RESET_ADDRESS:
    case KEYD_OP_STOP_PRINCIPAL:
    case KEYD_OP_REGISTRY_RESTORE:
    case KEYD_OP_AUDIT_DROP:
    case KEYD_OP_TOKEN_ADOPT:
    case KEYD_OP_ATTACH_KEY:
    case KEYD_OP_SIGN_TLS_RECORD:
        return true;
    case KEYD_OP_SIGN_OUTBOUND:
    case KEYD_OP_OPEN_ENVELOPE:
    case KEYD_OP_OPEN_BOUNCE:
    case KEYD_OP_MAKE_BOUNCE:
    case KEYD_OP_SEAL_NAKED:
    case KEYD_OP_STATUS:
    case KEYD_OP_PUBLIC_KEYS:
    case KEYD_OP_LOOKUP_SIGNET:
    case KEYD_OP_LOOKUP_HISTORY:
    case KEYD_OP_VERIFY_CURRENT:
    case KEYD_OP_UNSEAL:
    case KEYD_OP_SEAL:
    case KEYD_OP_AUDIT_READ:
    case KEYD_OP_AUDIT_HEAD:
    case KEYD_OP_APPROVAL_LIST:
    case KEYD_OP_APPROVAL_SHOW:
    case KEYD_OP_APPROVAL_SIGN:
    case KEYD_OP_POLICY_EXPLAIN:
    case KEYD_OP_REGISTRY_BACKUP:
    case KEYD_OP_TOKEN_LIST:
    case KEYD_OP_TOKEN_DOCTOR:
    case KEYD_OP_RELOAD:
    case KEYD_OP_DRAIN:
        break;
    }
    return false;
}

/* --- waiting for operators ----------------------------------------------------------
 */

static void
say_what_waits(const struct keyd_answer *a)
{
    char id[2 * sizeof a->approval_id + 1];

    hex_write(kd_slice(a->approval_id, sizeof a->approval_id), id);
    emit(stderr, "%s: waiting for %u %s: keydctl approve sign %s --key FILE\n",
         tool_name, (unsigned)a->approvals_missing,
         a->approvals_missing == 1 ? "approval" : "approvals", id);
}

/* The secret of a request, which every call overwrites. */
static struct keyd_secret
secret_of(const struct keyd_request *request)
{
    if (request->op == KEYD_OP_ADD_UNSEAL_SLOT)
        return request->in.slot.secret;
    if (request->op == KEYD_OP_IMPORT_KEY)
        return request->in.import_key.key_file;
    return (struct keyd_secret){NULL, 0};
}

/* Asks the same again, with the same key, until there is another answer than that it
 * waits. What expired would wait anew under another id: that is told instead. */
static enum keyd_status
ask_until_approved(struct session *s, struct keyd_request *request,
                   struct keyd_answer **answer)
{
    const struct timespec nap = {.tv_sec = 1};
    struct keyd_secret secret = secret_of(request);
    uint8_t key[KEYD_KEY_SIZE], id[16] = {0};
    void *kept = secret.n == 0 ? NULL : kd_secret_new(secret.n);
    const uint8_t *own = request->idempotency_key;
    uint32_t missing = 0;
    enum keyd_status status;

    if (secret.n != 0 && kept == NULL)
        return KEYD_NOMEM;
    if (kept != NULL)
        memcpy(kept, secret.p, secret.n);
    for (bool first = true;; first = false) {
        status = keyd_client_call(s->client, request, answer);
        if (status != KEYD_APPROVAL_NEEDED || *answer == NULL)
            break;
        if (!first && memcmp(id, (*answer)->approval_id, sizeof id) != 0) {
            complain("approval", "the request has expired and waits anew");
            break;
        }
        if (first || missing != (*answer)->approvals_missing)
            say_what_waits(*answer);
        missing = (*answer)->approvals_missing;
        memcpy(id, (*answer)->approval_id, sizeof id);
        memcpy(key, (*answer)->idempotency_key, sizeof key);
        request->idempotency_key = key;
        keyd_client_answer_free(*answer);
        *answer = NULL;
        kd_ignore(nanosleep(&nap, NULL)); /* a signal ends the program or the nap */
        if (kept != NULL)
            memcpy(secret.p, kept, secret.n);
    }
    kd_secret_free(kept, secret.n);
    request->idempotency_key = own;
    return status;
}

enum keyd_status
session_ask(struct session *s, struct keyd_request *request,
            struct keyd_answer **answer)
{
    /* What it was bound to before is the verb's own choice. */
    if (request->idempotency_key == NULL && s->o->has_key && is_changing(request->op))
        request->idempotency_key = s->o->key;
    if (s->o->wait)
        return ask_until_approved(s, request, answer);
    return keyd_client_call(s->client, request, answer);
}

bool
nothing_was_done(enum keyd_status status)
{
    return status != KEYD_OK && status != KEYD_UNKNOWN_OUTCOME &&
           status != KEYD_FAILED && status != KEYD_PROTOCOL;
}

/* A status with which the same request is to be made again. */
static bool
is_to_repeat(enum keyd_status status)
{
    return status == KEYD_UNKNOWN_OUTCOME || status == KEYD_BUSY ||
           status == KEYD_DEADLINE || status == KEYD_UNAVAILABLE ||
           status == KEYD_APPROVAL_NEEDED;
}

static void
refusal_to_json(enum keyd_status status, const char *detail, const char *sentence,
                const char *key, const struct keyd_answer *a)
{
    json_t *j = json_pack("{s:s, s:s, s:s}", "status", keyd_client_status_text(status),
                          "detail", detail, "reason", sentence);

    if (*key != '\0' && j != NULL)
        kd_ignore(json_put(j, "idempotency_key", json_string(key)));
    if (status == KEYD_APPROVAL_NEEDED && a != NULL && j != NULL) {
        kd_ignore(json_put(j, "approval",
                           json_hex(kd_slice(a->approval_id, sizeof a->approval_id))));
        kd_ignore(json_put(j, "missing", json_integer(a->approvals_missing)));
    }
    kd_ignore(json_done(j, EX_OK)); /* the exit status says it too */
}

/* The verb's, which makes the same one of the same command. */
static bool
is_own_key(const struct session *s, const struct keyd_request *request)
{
    return request->idempotency_key != NULL && request->idempotency_key != s->o->key;
}

int
session_refused(const struct session *s, const struct keyd_request *request,
                enum keyd_status status, const struct keyd_answer *answer)
{
    const char *detail = answer != NULL ? answer->detail : "";
    const char *sentence = kd_reason_text(kd_slice_str(detail));
    char key[2 * KEYD_KEY_SIZE + 1] = "";
    size_t at = 0;

    while (at < N_ENDINGS - 1 && endings[at].status != status)
        at++;
    if (sentence == NULL)
        sentence = endings[at].sentence;
    emit(stderr, "%s: %s (%s): %s", tool_name, endings[at].outcome,
         keyd_client_status_text(status), sentence);
    if (*detail != '\0')
        emit(stderr, " [%s]", detail);
    emit(stderr, "\n");
    if (answer != NULL && status == KEYD_APPROVAL_NEEDED)
        say_what_waits(answer);
    if (answer != NULL && is_changing(request->op) && is_to_repeat(status)) {
        hex_write(kd_slice(answer->idempotency_key, KEYD_KEY_SIZE), key);
        if (is_own_key(s, request)) {
            key[0] = '\0';
            emit(stderr, "%s: repeat the same command\n", tool_name);
        } else {
            emit(stderr, "%s: repeat it with --idempotency-key %s\n", tool_name, key);
        }
    }
    if (s->o->json)
        refusal_to_json(status, detail, sentence, key, answer);
    return endings[at].exit;
}

int
session_call(struct session *s, struct keyd_request *request,
             struct keyd_answer **answer)
{
    enum keyd_status status = session_ask(s, request, answer);

    if (status == KEYD_OK && *answer != NULL)
        return EX_OK;
    int ending = session_refused(s, request, status, *answer);
    keyd_client_answer_free(*answer);
    *answer = NULL;
    return ending;
}

int
session_once(const struct options *o, struct keyd_request *request,
             struct keyd_answer **answer)
{
    struct session s;
    int status = session_open(&s, o);

    if (status == EX_OK)
        status = session_call(&s, request, answer);
    session_close(&s);
    return status;
}

/* --- all keys -----------------------------------------------------------------------
 */

static bool
key_list_add(struct key_list *list, struct keyd_answer *page)
{
    size_t n = page->out.keys.n_keys;
    void *p = reallocarray(list->pages, list->n_pages + 1, sizeof(void *));

    if (p == NULL)
        return false;
    list->pages = p;
    p = reallocarray(list->keys, list->n + n + 1, sizeof(void *));
    if (p == NULL)
        return false;
    list->keys = p;
    for (size_t i = 0; i < n; i++)
        list->keys[list->n++] = &page->out.keys.keys[i];
    list->pages[list->n_pages++] = page;
    return true;
}

int
key_list_fetch(struct session *s, const char *domain, struct key_list *list)
{
    struct keyd_request q = {.op = KEYD_OP_PUBLIC_KEYS};

    *list = (struct key_list){0};
    if (domain != NULL)
        q.in.public_keys.domain = KEYD_STR(domain);
    do {
        struct keyd_answer *page = NULL;
        int status = session_call(s, &q, &page);
        if (status != EX_OK || page == NULL)
            return status;
        q.in.public_keys.after_id = page->out.keys.next;
        if (list->n_pages == PAGES_MAX || !key_list_add(list, page)) {
            keyd_client_answer_free(page);
            complain("keys", kd_err_text(KD_NOMEM));
            return EX_OSERR;
        }
    } while (q.in.public_keys.after_id.n != 0);
    return EX_OK;
}

void
key_list_free(struct key_list *list)
{
    for (size_t i = 0; i < list->n_pages; i++)
        keyd_client_answer_free(list->pages[i]);
    free(list->pages);
    free(list->keys);
    *list = (struct key_list){0};
}
