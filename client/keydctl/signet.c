/* keydctl signet issue-org, issue (also called ssr sign), show, history, verify. */
#include "keydctl.h"

#include <dime/fingerprint.h>
#include <keyd/ticket/ticket.h>

enum { SOKS_MAX = 64, SSR_MAX = 1024 };

static bool
is_stdout(const char *path)
{
    return path != NULL && strcmp(path, "-") == 0;
}

/* What keyd answered, parsed. KD_OK only if it is a signet of that kind and name: a
 * tool that writes it to a file must not write something else. */
static int
parse_answer(const struct keyd_answer *a, enum dime_kind kind, const struct name *name,
             struct dime_signet *out)
{
    enum dime_reason why;

    if (dime_signet_parse_as(kind, slice_of(a->out.signet.signet), out, &why) !=
        KD_OK) {
        complain("keyd's answer", dime_reason_text(why));
        return EX_PROTOCOL;
    }
    if (!kd_slice_eq(out->identifier, kd_slice(name->text, name->n))) {
        complain("keyd's answer", "the signet of another name");
        return EX_PROTOCOL;
    }
    return EX_OK;
}

/* --- what was issued ----------------------------------------------------------------
 */

static bool
put_fingerprint(json_t *j, const char *name, struct keyd_octets fp)
{
    return fp.n == 0 || json_put(j, name, json_base64(slice_of(fp)));
}

static json_t *
issued_to_json(const struct keyd_answer *a, const struct name *name)
{
    json_t *j = json_object(), *fps = json_object();
    bool good = put_fingerprint(fps, "core", a->out.signet.core_fp) &&
                put_fingerprint(fps, "full", a->out.signet.full_fp) &&
                put_fingerprint(fps, "id", a->out.signet.id_fp);

    good =
        json_put(j, "fingerprints", fps) && good &&
        json_put(j, "identifier", json_string(name->text)) &&
        json_put(j, "replayed", json_boolean(a->out.signet.replayed)) &&
        json_put(j, "generation", json_integer((json_int_t)a->out.signet.generation)) &&
        json_put(j, "seq", json_integer((json_int_t)a->out.signet.seq)) &&
        json_put(j, "signet", json_base64(slice_of(a->out.signet.signet)));
    if (good)
        return j;
    json_decref(j);
    return NULL;
}

static void
print_fingerprint(FILE *f, const char *name, struct keyd_octets fp)
{
    char text[DIME_FINGERPRINT_CHARS + 1];

    if (fp.n != DIME_FINGERPRINT_SIZE)
        return;
    dime_fingerprint_text(fp.p, text);
    emit(f, "fingerprint %-4s  %s\n", name, text);
}

static void
print_issued(FILE *f, const struct keyd_answer *a, const struct name *name)
{
    emit(f, "%-16s  %s\n%-16s  %ju.%ju%s\n", "signet of", name->text, "generation.seq",
         (uintmax_t)a->out.signet.generation, (uintmax_t)a->out.signet.seq,
         a->out.signet.replayed ? ", issued before" : "");
    print_fingerprint(f, "core", a->out.signet.core_fp);
    print_fingerprint(f, "full", a->out.signet.full_fp);
    print_fingerprint(f, "id", a->out.signet.id_fp);
}

/* Makes the request; writes and shows the signet. With the signet on standard output
 * there is nothing else there. */
static int
issue(struct session *s, struct keyd_request *q, enum dime_kind kind,
      const struct name *name, const struct profile *profile)
{
    const struct options *o = s->o;
    struct keyd_answer *a = NULL;
    struct dime_signet signet;
    int status = session_call(s, q, &a);

    if (status == EX_OK && (status = parse_answer(a, kind, name, &signet)) == EX_OK) {
        profile_compare(profile, &signet);
        if (o->out != NULL)
            status = signet_write(o->out, signet.raw);
    }
    if (status == EX_OK && o->json && !is_stdout(o->out))
        status = json_done(issued_to_json(a, name), EX_OK);
    else if (status == EX_OK && !is_stdout(o->out))
        print_issued(stdout, a, name);
    keyd_client_answer_free(a);
    return status;
}

/* --- issue-org ----------------------------------------------------------------------
 */

/* The ids named by options, or those of the active keys. */
struct chosen {
    uint8_t pok[16], enc[16], soks[SOKS_MAX][16];
    struct keyd_octets sok_ids[SOKS_MAX];
    size_t n_soks;
};

static int
choose_one(const struct key_list *keys, enum keyd_key_role role, const char *option,
           const char *text, uint8_t out[16])
{
    size_t n = 0;

    if (text != NULL)
        return hex_read(text, out, 16)
                   ? EX_OK
                   : usage_error(option, "an id of a key has 32 hexadecimal digits");
    for (size_t i = 0; i < keys->n; i++) {
        const struct keyd_key *k = keys->keys[i];
        if (k->role != role || k->state != KEYD_KEY_ACTIVE || k->id.n != 16)
            continue;
        memcpy(out, k->id.p, 16);
        n++;
    }
    if (n == 1)
        return EX_OK;
    complain(option, n == 0
                         ? "the domain has no active key of this role"
                         : "the domain has several active keys of this role: name one");
    return EX_DATAERR;
}

static int
too_many_soks(void)
{
    complain("--sok", "a signet holds at most 64 secondary keys");
    return EX_DATAERR;
}

static int
choose_soks(const struct key_list *keys, const struct text_list *named,
            struct chosen *out)
{
    bool none = named->n == 1 && strcmp(named->items[0], "none") == 0;

    for (size_t i = 0; !none && i < named->n; i++) {
        if (out->n_soks == SOKS_MAX)
            return too_many_soks();
        if (!hex_read(named->items[i], out->soks[out->n_soks++], 16))
            return usage_error("--sok", "an id of a key has 32 hexadecimal digits");
    }
    for (size_t i = 0; named->n == 0 && i < keys->n; i++) {
        const struct keyd_key *k = keys->keys[i];
        if (k->role != KEYD_ROLE_SOK || k->state != KEYD_KEY_ACTIVE || k->id.n != 16)
            continue;
        if (out->n_soks == SOKS_MAX)
            return too_many_soks();
        memcpy(out->soks[out->n_soks++], k->id.p, 16);
    }
    for (size_t i = 0; i < out->n_soks; i++)
        out->sok_ids[i] = (struct keyd_octets){out->soks[i], 16};
    return EX_OK;
}

static int
choose(struct session *s, const char *domain, struct chosen *out)
{
    const struct options *o = s->o;
    struct key_list keys;
    int status = key_list_fetch(s, domain, &keys);

    *out = (struct chosen){.n_soks = 0};
    if (status == EX_OK)
        status = choose_one(&keys, KEYD_ROLE_POK, "--pok", o->pok, out->pok);
    if (status == EX_OK)
        status = choose_one(&keys, KEYD_ROLE_ENC, "--enc", o->enc, out->enc);
    if (status == EX_OK)
        status = choose_soks(&keys, &o->sok, out);
    key_list_free(&keys);
    return status;
}

int
verb_signet_issue_org(const struct options *o)
{
    struct keyd_request q = {.op = KEYD_OP_ISSUE_ORG_SIGNET};
    struct profile profile;
    struct session s = {0};
    struct chosen chosen;
    struct name domain;
    int status;

    if (o->domain == NULL)
        return usage_error("--domain", "is needed");
    if ((status = name_read("--domain", o->domain, NAME_DOMAIN, &domain)) != EX_OK)
        return status;
    if ((status = profile_read(o, DIME_ORG, &profile)) != EX_OK ||
        (status = session_open(&s, o)) != EX_OK ||
        (status = choose(&s, domain.text, &chosen)) != EX_OK)
        goto out;
    q.in.issue_org_signet.domain = KEYD_STR(domain.text);
    q.in.issue_org_signet.profile = profile.fields;
    q.in.issue_org_signet.n_profile = profile.n;
    q.in.issue_org_signet.image = octets_of(kd_buf_slice(&profile.image));
    q.in.issue_org_signet.pok_id = (struct keyd_octets){chosen.pok, sizeof chosen.pok};
    q.in.issue_org_signet.encryption_id =
        (struct keyd_octets){chosen.enc, sizeof chosen.enc};
    q.in.issue_org_signet.sok_ids = chosen.sok_ids;
    q.in.issue_org_signet.n_sok_ids = chosen.n_soks;
    status = issue(&s, &q, DIME_ORG, &domain, &profile);
out:
    profile_free(&profile);
    session_close(&s);
    return status;
}

/* --- issue --------------------------------------------------------------------------
 */

static bool
mode_read(const char *text, enum keyd_account_mode *out)
{
    static const char *const modes[] = {[KEYD_ACCOUNT_TRUSTFUL] = "trustful",
                                        [KEYD_ACCOUNT_CAUTIOUS] = "cautious",
                                        [KEYD_ACCOUNT_PARANOID] = "paranoid"};

    *out = KEYD_ACCOUNT_CAUTIOUS;
    for (int i = KEYD_ACCOUNT_TRUSTFUL; text != NULL && i <= KEYD_ACCOUNT_PARANOID;
         i++) {
        *out = (enum keyd_account_mode)i;
        if (strcmp(modes[i], text) == 0)
            return true;
    }
    return text == NULL;
}

int
request_load(const char *path, struct object *ssr)
{
    const char *why = NULL;
    int status = object_load(ssr, path, &why);

    if (status == TROUBLE)
        return EX_NOINPUT;
    if (status == HOLDS && ssr->signet.kind != DIME_SSR)
        why = "a signet, not a signing request";
    else if (status == HOLDS && ssr->in.octets.n > SSR_MAX)
        why = "larger than a signing request can be";
    if (why == NULL)
        return EX_OK;
    complain(path, why);
    return EX_DATAERR;
}

int
verb_signet_issue(const struct options *o)
{
    struct keyd_request q = {.op = KEYD_OP_ISSUE_USER_SIGNET};
    struct object ssr = {.in.armoured = false};
    struct session s = {0};
    struct profile profile;
    struct kd_buf ticket;
    struct name address;
    int status;

    kd_buf_init(&ticket, KD_TICKET_MAX);
    if (!mode_read(o->mode, &q.in.issue_user_signet.account_mode))
        return usage_error("--mode", "trustful, cautious or paranoid");
    if ((status = name_read(o->args[0], o->args[0], NAME_ADDRESS, &address)) != EX_OK)
        return status;
    if ((status = profile_read(o, DIME_USER, &profile)) != EX_OK ||
        (status = request_load(o->args[1], &ssr)) != EX_OK ||
        (o->ticket != NULL && (status = ticket_load(o->ticket, &ticket)) != EX_OK) ||
        (status = session_open(&s, o)) != EX_OK)
        goto out;
    q.in.issue_user_signet.ticket = octets_of(kd_buf_slice(&ticket));
    q.in.issue_user_signet.address = KEYD_STR(address.text);
    q.in.issue_user_signet.ssr = octets_of(ssr.in.octets);
    q.in.issue_user_signet.profile = profile.fields;
    q.in.issue_user_signet.n_profile = profile.n;
    q.in.issue_user_signet.image = octets_of(kd_buf_slice(&profile.image));
    status = issue(&s, &q, DIME_USER, &address, &profile);
out:
    kd_buf_free(&ticket);
    object_free(&ssr);
    profile_free(&profile);
    session_close(&s);
    return status;
}

/* --- show ---------------------------------------------------------------------------
 */

static int
tell_signet(const struct options *o, const struct keyd_answer *a,
            const struct dime_signet *signet)
{
    if (o->json) {
        json_t *j = signet_to_json(signet);
        bool good = j != NULL &&
                    json_put(j, "current", json_boolean(a->out.signet.current)) &&
                    json_put(j, "generation",
                             json_integer((json_int_t)a->out.signet.generation)) &&
                    json_put(j, "seq", json_integer((json_int_t)a->out.signet.seq));
        if (!good) {
            json_decref(j);
            j = NULL;
        }
        return json_done(j, EX_OK);
    }
    emit(stdout, "%s, generation %ju, seq %ju\n",
         a->out.signet.current ? "current" : "superseded",
         (uintmax_t)a->out.signet.generation, (uintmax_t)a->out.signet.seq);
    signet_print(stdout, signet);
    return EX_OK;
}

static int
show(struct session *s, struct keyd_request *q, const struct name *name)
{
    const struct options *o = s->o;
    struct keyd_answer *a = NULL;
    struct dime_signet signet = {0};
    bool is_user = strchr(name->text, '@') != NULL;
    int status = session_call(s, q, &a);

    if (status == EX_OK)
        status = parse_answer(a, is_user ? DIME_USER : DIME_ORG, name, &signet);
    if (status == EX_OK && o->out != NULL)
        status = signet_write(o->out, signet.raw);
    if (status == EX_OK && !is_stdout(o->out))
        status = tell_signet(o, a, &signet);
    keyd_client_answer_free(a);
    return status;
}

int
fingerprint_read(const char *text, uint8_t out[DIME_FINGERPRINT_SIZE])
{
    if (dime_fingerprint_read(kd_slice_str(text), out) == KD_OK)
        return EX_OK;
    return usage_error(text, "a fingerprint has 86 characters of base 64");
}

int
verb_signet_show(const struct options *o)
{
    struct keyd_request q = {.op = KEYD_OP_LOOKUP_SIGNET};
    uint8_t fp[DIME_FINGERPRINT_SIZE];
    struct session s = {0};
    struct name name;
    int status = name_read(o->args[0], o->args[0], NAME_ANY, &name);

    if (status == EX_OK && o->fingerprint != NULL) {
        status = fingerprint_read(o->fingerprint, fp);
        q.in.lookup_signet.fingerprint = (struct keyd_octets){fp, sizeof fp};
    }
    q.in.lookup_signet.name = KEYD_STR(name.text);
    if (status == EX_OK && (status = session_open(&s, o)) == EX_OK)
        status = show(&s, &q, &name);
    session_close(&s);
    return status;
}

/* --- history ------------------------------------------------------------------------
 */

struct link {
    struct dime_signet core;
    char fingerprint[DIME_FINGERPRINT_CHARS + 1];
    bool custody;
};

static int
link_read(struct kd_slice octets, struct link *out)
{
    uint8_t fp[DIME_FINGERPRINT_SIZE];
    enum dime_reason why;

    if (dime_signet_parse_as(DIME_USER, octets, &out->core, &why) != KD_OK ||
        dime_fingerprint(&out->core, DIME_PART_CORE, fp) != KD_OK) {
        complain("keyd's answer", dime_reason_text(why));
        return EX_PROTOCOL;
    }
    dime_fingerprint_text(fp, out->fingerprint);
    out->custody = dime_signet_signature(&out->core, DIME_USER_CUSTODY) != NULL;
    return EX_OK;
}

static bool
link_to_json(json_t *list, const struct link *l)
{
    json_t *j = json_object();
    const struct dime_signet *c = &l->core;
    bool good = json_put(j, "fingerprint", json_string(l->fingerprint)) &&
                json_put(j, "custody", json_boolean(l->custody)) &&
                json_put(j, "signing_key",
                         json_base64(kd_slice(c->sign_key, sizeof c->sign_key))) &&
                json_put(j, "encryption_key",
                         json_base64(kd_slice(c->enc_key, sizeof c->enc_key))) &&
                json_put(j, "signet", json_base64(c->raw));

    if (good)
        return json_array_append_new(list, j) == 0;
    json_decref(j);
    return false;
}

/* One page; list is NULL for text, n counts links. */
static int
tell_page(const struct keyd_answer *a, json_t *list, size_t *n)
{
    struct link link;
    int status;

    for (size_t i = 0; i < a->out.history.n_cores; i++) {
        if ((status = link_read(slice_of(a->out.history.cores[i]), &link)) != EX_OK)
            return status;
        ++*n;
        if (list == NULL)
            emit(stdout, "%4zu  %s  %s\n", *n, link.fingerprint,
                 link.custody ? "custody" : "root");
        else if (!link_to_json(list, &link))
            return EX_OSERR;
    }
    return EX_OK;
}

static int
tell_history(struct session *s, struct keyd_request *q, json_t *list)
{
    struct keyd_answer *page = NULL;
    size_t n = 0;
    int status;

    do {
        struct keyd_answer *next = NULL;
        status = session_call(s, q, &next);
        /* `next` of the page before was borrowed until here. */
        keyd_client_answer_free(page);
        page = next;
        if (status == EX_OK)
            status = tell_page(page, list, &n);
        if (status == EX_OK)
            q->in.lookup_history.page = page->out.history.next;
    } while (status == EX_OK && q->in.lookup_history.page.n != 0);
    keyd_client_answer_free(page);
    return status;
}

int
verb_signet_history(const struct options *o)
{
    struct keyd_request q = {.op = KEYD_OP_LOOKUP_HISTORY};
    json_t *list = o->json ? json_array() : NULL;
    struct session s = {0};
    struct name address;
    int status = name_read(o->args[0], o->args[0], NAME_ADDRESS, &address);

    q.in.lookup_history.address = KEYD_STR(address.text);
    if (status == EX_OK && (status = session_open(&s, o)) == EX_OK)
        status = tell_history(&s, &q, list);
    if (status == EX_OK && o->json)
        status = json_done(
            json_pack("{s:s, s:O}", "address", address.text, "links", list), EX_OK);
    json_decref(list);
    session_close(&s);
    return status;
}

/* --- verify -------------------------------------------------------------------------
 */

static int
tell_verdict(const struct options *o, const struct keyd_answer *a)
{
    static const char *const verdicts[] = {[KEYD_CURRENT] = "current",
                                           [KEYD_UPDATE] = "update",
                                           [KEYD_UNKNOWN] = "unknown"};
    enum keyd_verdict v = a->out.verify.verdict;
    int status = v == KEYD_CURRENT ? EX_OK : EX_NEGATIVE;

    if ((size_t)v >= sizeof verdicts / sizeof *verdicts || verdicts[v] == NULL)
        return EX_PROTOCOL;
    if (o->json)
        return json_done(json_pack("{s:b, s:s, s:o}", "valid", v == KEYD_CURRENT,
                                   "verdict", verdicts[v], "current",
                                   json_base64(slice_of(a->out.verify.current_fp))),
                         status);
    emit(stdout, "%-10s  %s\n", "verdict", verdicts[v]);
    if (v != KEYD_CURRENT) {
        emit(stdout, "%-10s  ", "current");
        print_base64(stdout, slice_of(a->out.verify.current_fp));
        emit(stdout, "\n");
    }
    return status;
}

int
verb_signet_verify(const struct options *o)
{
    struct keyd_request q = {.op = KEYD_OP_VERIFY_CURRENT};
    struct keyd_answer *a = NULL;
    uint8_t fp[DIME_FINGERPRINT_SIZE];
    struct name name;
    int status = name_read(o->args[0], o->args[0], NAME_ANY, &name);

    if (status == EX_OK)
        status = fingerprint_read(o->args[1], fp);
    q.in.verify_current.name = KEYD_STR(name.text);
    q.in.verify_current.fingerprint = (struct keyd_octets){fp, sizeof fp};
    if (status == EX_OK)
        status = session_once(o, &q, &a);
    if (status == EX_OK)
        status = tell_verdict(o, a);
    else if (status == EX_NOUSER)
        status = EX_NEGATIVE; /* a name without signets has no current one */
    keyd_client_answer_free(a);
    return status;
}
