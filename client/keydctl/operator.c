/* keydctl operator new-key, operator list, quorum show, quorum set. */
#include "keydctl.h"

#include <keyd/ops/ops.h>
#include <keyd/quorum/approval.h>

const char *
operation_text(uint32_t number)
{
    const char *name = kd_op_name(number);

    return name == NULL ? "?" : name;
}

/* The key's SHA-256, as people compare it. */
static const char *
fingerprint(struct kd_slice key, char out[KD_APPROVAL_GROUPS_MAX])
{
    uint8_t digest[KD_APPROVAL_DIGEST_SIZE];

    kd_approval_digest(key, digest);
    return kd_approval_groups(digest, out);
}

/* --- keys ---------------------------------------------------------------------------
 */

static int
tell_key(const struct options *o, struct kd_slice key)
{
    char groups[KD_APPROVAL_GROUPS_MAX];

    if (o->json)
        return json_done(json_pack("{s:o, s:s}", "public_key", json_base64(key),
                                   "sha256", fingerprint(key, groups)),
                         EX_OK);
    emit(stdout, "public key  ");
    print_base64(stdout, key);
    emit(stdout, "\nsha-256     %s\n", fingerprint(key, groups));
    return EX_OK;
}

int
verb_operator_new_key(const struct options *o)
{
    struct operator_key key = {0};
    struct secret passphrase = {0};
    int status;

    if (o->out == NULL)
        return usage_error("-o", "is needed");
    status = o->passphrase_file != NULL
                 ? secret_from_file(o->passphrase_file, 1024, true, &passphrase)
                 : secret_prompt(true, &passphrase);
    if (status == EX_OK)
        status = operator_key_make(o->out, &passphrase, &key);
    secret_free(&passphrase);
    if (status == EX_OK)
        status = tell_key(o, kd_slice(key.public_key, sizeof key.public_key));
    operator_key_free(&key);
    return status;
}

static json_t *
operators_to_json(const struct keyd_answer *a)
{
    json_t *list = json_array();
    char groups[KD_APPROVAL_GROUPS_MAX];

    for (size_t i = 0; i < a->out.approvals.n_operators; i++) {
        const struct keyd_operator *one = &a->out.approvals.operators[i];
        struct kd_slice key = slice_of(one->public_key);
        json_t *j = json_pack("{s:o, s:o, s:s}", "name",
                              json_octets(slice_of(one->name)), "public_key",
                              json_base64(key), "sha256", fingerprint(key, groups));
        list = json_list_add(list, j);
    }
    return list;
}

static void
print_operators(const struct keyd_answer *a)
{
    char groups[KD_APPROVAL_GROUPS_MAX];

    for (size_t i = 0; i < a->out.approvals.n_operators; i++) {
        const struct keyd_operator *one = &a->out.approvals.operators[i];
        int blanks = one->name.n < 16 ? (int)(16 - one->name.n) : 0;
        print_text(stdout, slice_of(one->name));
        emit(stdout, "%*s  %s\n", blanks, "",
             fingerprint(slice_of(one->public_key), groups));
    }
}

int
verb_operator_list(const struct options *o)
{
    struct keyd_request q = {.op = KEYD_OP_APPROVAL_LIST};
    struct keyd_answer *a = NULL;
    int status = session_once(o, &q, &a);

    if (status == EX_OK && o->json)
        status =
            json_done(json_pack("{s:o}", "operators", operators_to_json(a)), EX_OK);
    else if (status == EX_OK)
        print_operators(a);
    keyd_client_answer_free(a);
    return status;
}

/* --- the quorum ---------------------------------------------------------------------
 */

static json_t *
marks_to_json(uint64_t marks)
{
    json_t *list = json_array();

    for (unsigned op = 1; op <= KD_OP_MAX; op++)
        if ((marks >> op & 1) != 0)
            kd_ignore(json_array_append_new(list, json_string(operation_text(op))));
    return list;
}

static int
tell_quorum(const struct options *o, const struct keyd_answer *a)
{
    size_t n = a->out.approvals.n_operators;

    if (o->json)
        return json_done(json_pack("{s:I, s:o, s:o}", "k",
                                   (json_int_t)a->out.approvals.k, "marks",
                                   marks_to_json(a->out.approvals.marks), "operators",
                                   operators_to_json(a)),
                         EX_OK);
    if (n == 0) {
        emit(stdout, "no operators: the configuration decides (single-operator)\n");
        return EX_OK;
    }
    emit(stdout, "%u approvals of %zu operators, beside who asks, for\n",
         (unsigned)a->out.approvals.k, n);
    for (unsigned op = 1; op <= KD_OP_MAX; op++)
        if ((a->out.approvals.marks >> op & 1) != 0)
            emit(stdout, "  %s\n", operation_text(op));
    emit(stdout, "\n");
    print_operators(a);
    return EX_OK;
}

int
verb_quorum_show(const struct options *o)
{
    struct keyd_request q = {.op = KEYD_OP_APPROVAL_LIST};
    struct keyd_answer *a = NULL;
    int status = session_once(o, &q, &a);

    if (status == EX_OK)
        status = tell_quorum(o, a);
    keyd_client_answer_free(a);
    return status;
}

/* "alice=alice.pub" */
static int
read_operator(const char *text, struct kd_operator *out)
{
    const char *equals = strchr(text, '=');
    size_t n = equals == NULL ? 0 : (size_t)(equals - text);

    if (n == 0 || n > KD_OPERATOR_NAME_MAX || equals[1] == '\0')
        return usage_error(text, "NAME=FILE: a principal and its public key");
    memcpy(out->name, text, n);
    out->name[n] = '\0';
    out->name_size = n;
    return operator_key_public(equals + 1, out->key);
}

/* What was asked for, in order and within the rules. */
static int
read_quorum(const struct options *o, struct kd_quorum *q)
{
    uint64_t k = 0;
    int status;

    *q = (struct kd_quorum){0};
    if (o->k == NULL || !number_read(o->k, 0, KD_OPERATORS_MAX - 1, &k))
        return usage_error("--k", "the number of approvals is needed, 0 for no quorum");
    if (o->operators.n > KD_OPERATORS_MAX)
        return usage_error("--operator", "16 at most");
    q->k = (unsigned)k;
    for (; q->n < o->operators.n; q->n++)
        if ((status = read_operator(o->operators.items[q->n], &q->operators[q->n])) !=
            EX_OK)
            return status;
    for (size_t i = 0; i < o->mark.n; i++) {
        unsigned op = kd_op_find(kd_slice_str(o->mark.items[i]));
        if ((kd_op_flags(op) & KD_OPF_QUORUM) == 0)
            return usage_error(o->mark.items[i], "not an operation that can be marked");
        q->marks |= UINT64_C(1) << op;
    }
    kd_quorum_arrange(q);
    if (kd_quorum_check(q) == KD_OK)
        return EX_OK;
    return usage_error("quorum",
                       "3 to 16 operators with names and keys of their own, 2 or more "
                       "approvals and fewer than operators; or --k 0 and nothing else");
}

static int
tell_generation(const struct options *o, const struct keyd_answer *a)
{
    uint64_t generation = a->out.set_quorum.generation;

    if (o->json)
        return json_done(json_pack("{s:I}", "generation", (json_int_t)generation),
                         EX_OK);
    emit(stdout, "key store generation %ju\n", (uintmax_t)generation);
    return EX_OK;
}

int
verb_quorum_set(const struct options *o)
{
    struct keyd_operator operators[KD_OPERATORS_MAX];
    struct keyd_answer *a = NULL;
    struct kd_quorum wanted;
    int status = read_quorum(o, &wanted);

    if (status != EX_OK)
        return status;
    for (size_t i = 0; i < wanted.n; i++)
        operators[i] =
            (struct keyd_operator){octets_of(kd_operator_name(&wanted.operators[i])),
                                   {wanted.operators[i].key, KD_OPERATOR_KEY_SIZE}};
    struct keyd_request q = {.op = KEYD_OP_SET_QUORUM,
                             .in.set_quorum = {.k = wanted.k,
                                               .marks = wanted.marks,
                                               .operators = operators,
                                               .n_operators = wanted.n}};
    status = session_once(o, &q, &a);
    if (status == EX_OK)
        status = tell_generation(o, a);
    keyd_client_answer_free(a);
    return status;
}
