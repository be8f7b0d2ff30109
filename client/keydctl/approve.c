/* keydctl approve list, show, sign.
 *
 * What is shown is what is signed: the text keyd gave, octet for octet, after it has
 * been read as one of this request and of nothing else. There is no way to sign here
 * what has not been shown. */
#include "keydctl.h"

#include <keyd/conf/policy.h>
#include <keyd/quorum/approval.h>
#include <unistd.h>

static int
id_read(const char *text, uint8_t id[KD_APPROVAL_ID_SIZE])
{
    if (hex_read(text, id, KD_APPROVAL_ID_SIZE))
        return EX_OK;
    return usage_error(text, "an id of a request has 32 hexadecimal digits");
}

static json_t *
approval_to_json(const struct keyd_approval *p)
{
    json_t *names = json_array();

    for (size_t i = 0; i < p->n_approved_by; i++)
        kd_ignore(
            json_array_append_new(names, json_octets(slice_of(p->approved_by[i]))));
    return json_pack(
        "{s:o, s:s, s:o, s:o, s:o, s:I, s:o, s:o}", "id", json_hex(slice_of(p->id)),
        "operation", operation_text(p->operation), "requester",
        json_octets(slice_of(p->requester)), "made", json_time(p->made_ms), "not_after",
        json_time(p->not_after_ms), "needed", (json_int_t)p->needed, "sha256",
        json_hex(slice_of(p->digest)), "approved_by", names);
}

/* --- list ---------------------------------------------------------------------------
 */

static void
print_line(const struct keyd_approval *p)
{
    char id[2 * KD_APPROVAL_ID_SIZE + 1] = "", end[TIME_TEXT];

    if (p->id.n == KD_APPROVAL_ID_SIZE)
        hex_write(slice_of(p->id), id);
    emit(stdout, "%-32s  %-16s  %zu of %u  %s  ", id, operation_text(p->operation),
         p->n_approved_by, (unsigned)p->needed, time_text(p->not_after_ms, end));
    print_text(stdout, slice_of(p->requester));
    emit(stdout, "\n");
}

static int
tell_list(const struct options *o, const struct keyd_answer *a)
{
    if (!o->json) {
        for (size_t i = 0; i < a->out.approvals.n_approvals; i++)
            print_line(&a->out.approvals.approvals[i]);
        return EX_OK;
    }
    json_t *list = json_array();
    for (size_t i = 0; i < a->out.approvals.n_approvals; i++)
        kd_ignore(json_array_append_new(
            list, approval_to_json(&a->out.approvals.approvals[i])));
    return json_done(json_pack("{s:o}", "approvals", list), EX_OK);
}

int
verb_approve_list(const struct options *o)
{
    struct keyd_request q = {.op = KEYD_OP_APPROVAL_LIST};
    struct keyd_answer *a = NULL;
    int status = session_once(o, &q, &a);

    if (status == EX_OK)
        status = tell_list(o, a);
    keyd_client_answer_free(a);
    return status;
}

/* --- show ---------------------------------------------------------------------------
 */

/* Asks for the text and reads it: of this id, printable, and of the digest said. */
static int
fetch(struct session *s, const uint8_t id[KD_APPROVAL_ID_SIZE],
      struct keyd_answer **answer, uint8_t digest[KD_APPROVAL_DIGEST_SIZE])
{
    struct keyd_request q = {.op = KEYD_OP_APPROVAL_SHOW,
                             .in.approval_show.id = {id, KD_APPROVAL_ID_SIZE}};
    struct kd_approval_head head;
    struct kd_slice facts;
    int status = session_call(s, &q, answer);

    if (status != EX_OK)
        return status;
    struct kd_slice text = slice_of((*answer)->out.approvals.text);
    kd_approval_digest(text, digest);
    if (kd_approval_read(text, &head, &facts) == KD_OK &&
        memcmp(head.id, id, sizeof head.id) == 0 &&
        kd_slice_eq(slice_of((*answer)->out.approvals.approvals[0].digest),
                    kd_slice(digest, KD_APPROVAL_DIGEST_SIZE)))
        return EX_OK;
    complain("approval", "keyd's text is not that of this request: nothing is signed");
    return EX_PROTOCOL;
}

static void
print_request(FILE *f, const struct keyd_answer *a,
              const uint8_t digest[KD_APPROVAL_DIGEST_SIZE])
{
    struct kd_slice text = slice_of(a->out.approvals.text);
    char groups[KD_APPROVAL_GROUPS_MAX];

    /* Nothing but printable ASCII and line ends, as fetch has seen. */
    kd_ignore(fwrite(text.p, 1, text.n, f)); /* the stream is asked at the end */
    emit(f, "\nsha-256  %s\n", kd_approval_groups(digest, groups));
}

static int
tell_request(const struct options *o, const struct keyd_answer *a,
             const uint8_t digest[KD_APPROVAL_DIGEST_SIZE])
{
    struct kd_slice text = slice_of(a->out.approvals.text);

    /* For other tools that sign: the octets alone. */
    if (o->out != NULL && file_write(o->out, text) != HOLDS)
        return EX_CANTCREAT;
    if (o->json) {
        json_t *j = approval_to_json(&a->out.approvals.approvals[0]);
        if (!json_put(j, "text", json_octets(text))) {
            json_decref(j);
            j = NULL;
        }
        return json_done(j, EX_OK);
    }
    print_request(stdout, a, digest);
    return EX_OK;
}

int
verb_approve_show(const struct options *o)
{
    uint8_t id[KD_APPROVAL_ID_SIZE], digest[KD_APPROVAL_DIGEST_SIZE];
    struct keyd_answer *a = NULL;
    struct session s = {0};
    int status = id_read(o->args[0], id);

    if (status == EX_OK && (status = session_open(&s, o)) == EX_OK)
        status = fetch(&s, id, &a, digest);
    if (status == EX_OK)
        status = tell_request(o, a, digest);
    keyd_client_answer_free(a);
    session_close(&s);
    return status;
}

/* --- sign ---------------------------------------------------------------------------
 */

/* The operator whose key this is. What is no name is not shown: a terminal that obeys
 * it would no longer show what is signed. */
static int
find_operator(struct session *s, const struct operator_key *key,
              char name[KD_POLICY_NAME_MAX + 1])
{
    struct keyd_request q = {.op = KEYD_OP_APPROVAL_LIST};
    struct keyd_answer *a = NULL;
    struct kd_slice mine = kd_slice(key->public_key, sizeof key->public_key);
    int status = session_call(s, &q, &a);

    name[0] = '\0';
    for (size_t i = 0; status == EX_OK && i < a->out.approvals.n_operators; i++) {
        const struct keyd_operator *one = &a->out.approvals.operators[i];
        if (kd_principal_name_is_valid(slice_of(one->name)) &&
            kd_slice_eq(slice_of(one->public_key), mine)) {
            memcpy(name, one->name.p, one->name.n);
            name[one->name.n] = '\0';
        }
    }
    keyd_client_answer_free(a);
    if (status == EX_OK && name[0] == '\0') {
        complain(s->o->asked_key, "no operator has this key");
        status = EX_NOPERM;
    }
    return status;
}

/* Whoever signs has seen the text: a person who says so, or a program that was given
 * the beginning of its digest by one. */
static int
confirm(const struct options *o, const uint8_t digest[KD_APPROVAL_DIGEST_SIZE],
        const char *name)
{
    char line[16];

    if (o->yes_digest != NULL) {
        if (kd_approval_digest_starts(digest, o->yes_digest))
            return EX_OK;
        complain("--yes-digest", "not the digest of this text: nothing is signed");
        return EX_DATAERR;
    }
    if (isatty(STDIN_FILENO) == 0)
        return usage_error("--yes-digest", "is needed without a terminal");
    emit(stderr, "\nApprove this as %s? Type yes: ", name);
    if (fgets(line, sizeof line, stdin) != NULL && strcmp(line, "yes\n") == 0)
        return EX_OK;
    complain("approval", "not given");
    return EX_NEGATIVE;
}

static int
send_approval(struct session *s, const uint8_t id[KD_APPROVAL_ID_SIZE],
              const char *name, const uint8_t sig[64])
{
    struct keyd_request q = {.op = KEYD_OP_APPROVAL_SIGN,
                             .in.approval_sign = {.id = {id, KD_APPROVAL_ID_SIZE},
                                                  .operator_name = KEYD_STR(name),
                                                  .signature = {sig, 64}}};
    struct keyd_answer *a = NULL;
    int status = session_call(s, &q, &a);

    if (status == EX_OK && s->o->json)
        status = json_done(json_pack("{s:s, s:I, s:I}", "operator", name, "given",
                                     (json_int_t)a->out.approval_sign.given, "needed",
                                     (json_int_t)a->out.approval_sign.needed),
                           EX_OK);
    else if (status == EX_OK)
        emit(stdout, "approved by %s: %u of %u\n", name,
             (unsigned)a->out.approval_sign.given,
             (unsigned)a->out.approval_sign.needed);
    keyd_client_answer_free(a);
    return status;
}

int
verb_approve_sign(const struct options *o)
{
    uint8_t id[KD_APPROVAL_ID_SIZE], digest[KD_APPROVAL_DIGEST_SIZE], sig[64];
    struct operator_key key = {0};
    struct keyd_answer *a = NULL;
    struct session s = {0};
    char name[KD_POLICY_NAME_MAX + 1];
    int status;

    if (o->asked_key == NULL)
        return usage_error("--key", "is needed");
    if ((status = id_read(o->args[0], id)) == EX_OK &&
        (status = session_open(&s, o)) == EX_OK &&
        (status = fetch(&s, id, &a, digest)) == EX_OK) {
        print_request(o->json ? stderr : stdout, a, digest);
        kd_ignore(fflush(stdout)); /* before the question; asked again at the end */
        status = operator_key_load(o->asked_key, o->passphrase_file, &key);
    }
    if (status == EX_OK && (status = find_operator(&s, &key, name)) == EX_OK &&
        (status = confirm(o, digest, name)) == EX_OK &&
        (status = operator_key_sign(&key, slice_of(a->out.approvals.text), sig)) ==
            EX_OK)
        status = send_approval(&s, id, name, sig);
    operator_key_free(&key);
    keyd_client_answer_free(a);
    session_close(&s);
    return status;
}
