/* keydctl token list, token doctor, token init --token: PKCS#11 tokens. */
#include "keydctl.h"

#include <keyd/base/clock.h>
#include <keyd/p11/finding.h>
#include <time.h>

enum {
    POLL_MS = 200,
    SETTLING_MS = 10000, /* an adopted token is logged in to, and its keys looked for */
};

static const char *const states[] = {
    [KEYD_TOKEN_NEW] = "new",         [KEYD_TOKEN_STARTING] = "starting",
    [KEYD_TOKEN_READY] = "ready",     [KEYD_TOKEN_AWAY] = "away",
    [KEYD_TOKEN_RETURNING] = "tried", [KEYD_TOKEN_DRAINED] = "drained",
    [KEYD_TOKEN_REFUSED] = "refused", [KEYD_TOKEN_IDLE] = "sealed",
};

static const char *
token_state_text(enum keyd_token_state state)
{
    return (size_t)state < sizeof states / sizeof *states && states[state] != NULL
               ? states[state]
               : "unknown";
}

/* P11_FINDINGS for a word of another release. */
static enum p11_finding_code
finding_of(struct kd_slice word)
{
    unsigned code = 0;

    while (
        code < P11_FINDINGS &&
        !kd_slice_eq(kd_slice_str(p11_finding_word((enum p11_finding_code)code)), word))
        code++;
    return (enum p11_finding_code)code;
}

static json_t *
module_error_to_json(uint64_t rv)
{
    char name[48];

    return rv == 0 ? json_null() : json_string(p11_rv_name(rv, name));
}

/* --- list ---------------------------------------------------------------------------
 */

static const struct {
    uint32_t bit;
    const char *name;
} mechanisms[] = {{1, "ed25519"}, {2, "make-ed25519"}, {4, "ecdh"},
                  {8, "make-ec"}, {16, "rsa"},         {32, "make-rsa"}};

static json_t *
mechanisms_to_json(uint32_t set)
{
    json_t *list = json_array();

    for (size_t i = 0; i < sizeof mechanisms / sizeof *mechanisms; i++)
        if ((set & mechanisms[i].bit) != 0)
            list = json_list_add(list, json_string(mechanisms[i].name));
    return list;
}

static bool
put_counts(json_t *j, const struct keyd_token *t)
{
    const struct {
        const char *name;
        uint64_t n;
    } counts[] = {{"state_ms", t->state_ms}, {"hosts", t->hosts},
                  {"keys", t->keys},         {"max_message", t->max_message},
                  {"signed", t->n_signed},   {"derived", t->n_derived},
                  {"faults", t->n_faults},   {"recycled", t->n_recycled},
                  {"times_away", t->n_away}};
    bool good = true;

    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++)
        good =
            good && json_put(j, counts[i].name, json_integer((json_int_t)counts[i].n));
    return good;
}

static json_t *
token_to_json(const struct keyd_token *t)
{
    json_t *j = json_object();
    bool good =
        json_put(j, "name", json_octets(slice_of(t->name))) &&
        json_put(j, "state", json_string(token_state_text(t->state))) &&
        json_put(j, "finding", json_octets(slice_of(t->finding))) &&
        json_put(j, "module_error", module_error_to_json(t->module_error)) &&
        json_put(j, "label", json_octets(slice_of(t->label))) &&
        json_put(j, "serial", json_octets(slice_of(t->serial))) &&
        json_put(j, "model", json_octets(slice_of(t->model))) &&
        json_put(j, "manufacturer", json_octets(slice_of(t->manufacturer))) &&
        json_put(j, "adopted", json_boolean(t->adopted)) &&
        json_put(j, "adopted_serial", json_octets(slice_of(t->adopted_serial))) &&
        json_put(j, "mechanisms", mechanisms_to_json(t->mechanisms)) &&
        put_counts(j, t);

    if (good)
        return j;
    json_decref(j);
    return NULL;
}

static json_t *
tokens_to_json(const struct keyd_answer *a)
{
    json_t *list = json_array();

    for (size_t i = 0; i < a->out.tokens.n_tokens; i++)
        list = json_list_add(list, token_to_json(&a->out.tokens.tokens[i]));
    return json_pack("{s:o}", "tokens", list);
}

static void
print_padded(struct kd_slice text, size_t width)
{
    struct kd_slice shown = text.n == 0 ? kd_slice_str("-") : text;

    print_text(stdout, shown);
    emit(stdout, "%*s", shown.n < width ? (int)(width - shown.n) : 0, "");
}

/* Why it is not ready, in a sentence. */
static void
print_why(const char *before, struct kd_slice word, uint64_t rv)
{
    enum p11_finding_code code = finding_of(word);
    char name[48];

    emit(stdout, "%s", before);
    print_text(stdout, word);
    if (code != P11_FINDINGS)
        emit(stdout, ": %s", p11_finding_text(code));
    if (rv != 0)
        emit(stdout, " (%s)", p11_rv_name(rv, name));
    emit(stdout, "\n");
}

static void
print_token_line(const struct keyd_token *t)
{
    print_padded(slice_of(t->name), 16);
    emit(stdout, "  %-8s  ", token_state_text(t->state));
    print_padded(slice_of(t->serial), 16);
    emit(stdout, "  %5u  %4u  %9ju  %9ju  %6ju  %8ju\n", (unsigned)t->hosts,
         (unsigned)t->keys, (uintmax_t)t->n_signed, (uintmax_t)t->n_derived,
         (uintmax_t)t->n_faults, (uintmax_t)t->n_recycled);
    if (t->finding.n != 0)
        print_why("    ", slice_of(t->finding), t->module_error);
}

static void
print_tokens(const struct keyd_answer *a)
{
    emit(stdout, "%-16s  %-8s  %-16s  %5s  %4s  %9s  %9s  %6s  %8s\n", "name", "state",
         "serial", "hosts", "keys", "signed", "derived", "faults", "recycled");
    for (size_t i = 0; i < a->out.tokens.n_tokens; i++)
        print_token_line(&a->out.tokens.tokens[i]);
}

int
verb_token_list(const struct options *o)
{
    struct keyd_request q = {.op = KEYD_OP_TOKEN_LIST};
    struct keyd_answer *a = NULL;
    int status = session_once(o, &q, &a);

    if (status == EX_OK && o->json)
        status = json_done(tokens_to_json(a), EX_OK);
    else if (status == EX_OK)
        print_tokens(a);
    keyd_client_answer_free(a);
    return status;
}

/* --- doctor -------------------------------------------------------------------------
 */

static bool
is_fault(const struct keyd_token_finding *f)
{
    enum p11_finding_code code = finding_of(slice_of(f->finding));

    return code == P11_FINDINGS || !p11_finding_is_note(code);
}

/* What is to be done, with the token's name where it says NAME. */
static struct kd_buf
advice_of(const struct keyd_token_finding *f, enum p11_finding_code code)
{
    enum { ADVICE_MAX = 512 };
    const char *text = code == P11_FINDINGS ? "" : p11_finding_advice(code);
    const char *at = strstr(text, "NAME");
    struct kd_buf b;

    kd_buf_init(&b, ADVICE_MAX);
    if (at == NULL) {
        kd_buf_put(&b, kd_slice_str(text));
        return b;
    }
    kd_buf_put(&b, kd_slice(text, (size_t)(at - text)));
    kd_buf_put(&b, slice_of(f->token));
    kd_buf_put(&b, kd_slice_str(at + strlen("NAME")));
    return b;
}

static void
print_finding(const struct keyd_token_finding *f)
{
    enum p11_finding_code code = finding_of(slice_of(f->finding));

    print_text(stdout, slice_of(f->token));
    print_why(is_fault(f) ? ": " : ": note: ", slice_of(f->finding), f->module_error);
    if (f->what.n != 0) {
        emit(stdout, "    which   ");
        print_text(stdout, slice_of(f->what));
        emit(stdout, "\n");
    }
    struct kd_buf advice = advice_of(f, code);
    if (advice.n != 0) {
        emit(stdout, "    advice  ");
        print_text(stdout, kd_buf_slice(&advice));
        emit(stdout, "\n");
    }
    kd_buf_free(&advice);
}

static json_t *
finding_to_json(const struct keyd_token_finding *f)
{
    enum p11_finding_code code = finding_of(slice_of(f->finding));
    struct kd_buf advice = advice_of(f, code);
    json_t *j = json_pack(
        "{s:o, s:o, s:b, s:s, s:o, s:o, s:o}", "token", json_octets(slice_of(f->token)),
        "finding", json_octets(slice_of(f->finding)), "fault", is_fault(f), "text",
        code != P11_FINDINGS ? p11_finding_text(code) : "", "advice",
        json_octets(kd_buf_slice(&advice)), "which", json_octets(slice_of(f->what)),
        "module_error", module_error_to_json(f->module_error));

    kd_buf_free(&advice);
    return j;
}

static bool
has_finding(const struct keyd_answer *doctor, struct kd_slice token)
{
    for (size_t i = 0; i < doctor->out.doctor.n_findings; i++)
        if (kd_slice_eq(slice_of(doctor->out.doctor.findings[i].token), token))
            return true;
    return false;
}

/* The tokens that were looked at and are well. */
static void
print_well(const char *asked, const struct keyd_answer *list,
           const struct keyd_answer *doctor)
{
    for (size_t i = 0; i < list->out.tokens.n_tokens; i++) {
        const struct keyd_token *t = &list->out.tokens.tokens[i];
        struct kd_slice name = slice_of(t->name);
        if ((asked != NULL && !kd_slice_eq(name, kd_slice_str(asked))) ||
            has_finding(doctor, name))
            continue;
        print_text(stdout, name);
        emit(stdout, ": nothing is wrong (%s)\n", token_state_text(t->state));
    }
    if (list->out.tokens.n_tokens == 0 && doctor->out.doctor.n_findings == 0)
        emit(stdout, "the configuration has no PKCS#11 tokens\n");
}

static int
tell_doctor(const struct options *o, const struct keyd_answer *list,
            const struct keyd_answer *doctor)
{
    size_t n = doctor->out.doctor.n_findings, n_faults = 0;
    json_t *findings = o->json ? json_array() : NULL;

    for (size_t i = 0; i < n; i++) {
        const struct keyd_token_finding *f = &doctor->out.doctor.findings[i];
        n_faults += is_fault(f);
        if (o->json)
            findings = json_list_add(findings, finding_to_json(f));
        else
            print_finding(f);
    }
    int status = n_faults == 0 ? EX_OK : EX_NEGATIVE;
    if (o->json)
        return json_done(
            json_pack("{s:b, s:o}", "well", n_faults == 0, "findings", findings),
            status);
    print_well(o->args[0], list, doctor);
    return status;
}

int
verb_token_doctor(const struct options *o)
{
    struct keyd_request ask_list = {.op = KEYD_OP_TOKEN_LIST};
    struct keyd_request q = {.op = KEYD_OP_TOKEN_DOCTOR};
    struct keyd_answer *list = NULL, *doctor = NULL;
    struct session s = {0};

    if (o->args[0] != NULL)
        q.in.token.name = KEYD_STR(o->args[0]);
    int status = session_open(&s, o);
    if (status == EX_OK)
        status = session_call(&s, &q, &doctor);
    if (status == EX_OK)
        status = session_call(&s, &ask_list, &list);
    if (status == EX_OK)
        status = tell_doctor(o, list, doctor);
    keyd_client_answer_free(list);
    keyd_client_answer_free(doctor);
    session_close(&s);
    return status;
}

/* --- init ---------------------------------------------------------------------------
 */

static const struct keyd_token *
token_named(const struct keyd_answer *a, const char *name)
{
    for (size_t i = 0; i < a->out.tokens.n_tokens; i++)
        if (kd_slice_eq(slice_of(a->out.tokens.tokens[i].name), kd_slice_str(name)))
            return &a->out.tokens.tokens[i];
    return NULL;
}

/* Still on its way from being adopted to being in use. */
static bool
is_settling(const struct keyd_token *t)
{
    return t != NULL &&
           (t->state == KEYD_TOKEN_NEW || t->state == KEYD_TOKEN_STARTING ||
            t->state == KEYD_TOKEN_RETURNING ||
            (t->state == KEYD_TOKEN_REFUSED &&
             finding_of(slice_of(t->finding)) == P11_NOT_ADOPTED));
}

static int
tell_adopted(const struct options *o, const struct keyd_answer *list)
{
    const struct keyd_token *t = token_named(list, o->token.items[0]);

    if (t == NULL) {
        complain(o->token.items[0], "adopted, and not in the configuration any more");
        return EX_UNAVAILABLE;
    }
    int status = t->state == KEYD_TOKEN_READY ? EX_OK : EX_UNAVAILABLE;
    if (o->json)
        return json_done(token_to_json(t), status);
    emit(stdout, "adopted  ");
    print_text(stdout, slice_of(t->name));
    emit(stdout, ", serial ");
    print_text(stdout, slice_of(t->adopted_serial));
    emit(stdout, "\nstate    %s\n", token_state_text(t->state));
    if (t->finding.n != 0)
        print_why("because  ", slice_of(t->finding), t->module_error);
    return status;
}

/* Nobody has looked at it yet, or it says what is wrong. */
static bool
is_unseen(const struct keyd_token *t)
{
    return t != NULL && t->serial.n == 0 && t->model.n == 0 && t->finding.n == 0;
}

/* The list as soon as the token is not so any more, or it takes too long; *a is the
 * caller's in every case. */
static int
watch(struct session *s, bool (*goes_on)(const struct keyd_token *),
      struct keyd_answer **a)
{
    const struct timespec pause = {0, POLL_MS * 1000 * 1000L};
    struct keyd_request q = {.op = KEYD_OP_TOKEN_LIST};
    int64_t until = kd_clock_ms() + SETTLING_MS;
    int status;

    while ((status = session_call(s, &q, a)) == EX_OK &&
           goes_on(token_named(*a, s->o->token.items[0])) && kd_clock_ms() < until) {
        keyd_client_answer_free(*a);
        *a = NULL;
        kd_ignore(nanosleep(&pause, NULL)); /* cut short does no harm */
    }
    return status;
}

int
token_adopt(const struct options *o)
{
    struct keyd_request q = {.op = KEYD_OP_TOKEN_ADOPT};
    struct keyd_answer *a = NULL, *list = NULL;
    const struct keyd_token *t = NULL;
    struct session s = {0};

    if (o->token.n != 1 || o->passphrase_file != NULL || o->credential_file != NULL ||
        o->make_new)
        return usage_error("--token", "one token, and no passphrase or credential");
    q.in.token.name = KEYD_STR(o->token.items[0]);
    int status = session_open(&s, o);
    if (status == EX_OK)
        status = watch(&s, is_unseen, &list);
    if (status == EX_OK && (t = token_named(list, o->token.items[0])) != NULL)
        q.in.token.serial = t->serial; /* of a name there is none of, keyd says so */
    if (status == EX_OK)
        status = session_call(&s, &q, &a);
    keyd_client_answer_free(list);
    list = NULL;
    /* What became of it: the login with its PIN among others. */
    if (status == EX_OK && (status = watch(&s, is_settling, &list)) == EX_OK)
        status = tell_adopted(o, list);
    keyd_client_answer_free(list);
    keyd_client_answer_free(a);
    session_close(&s);
    return status;
}
