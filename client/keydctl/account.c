/* keydctl account, reset, principal: what is signed for whom, and who may ask. */
#include "keydctl.h"

static const char *const account_states[] = {[KEYD_ACCOUNT_OPEN] = "open",
                                             [KEYD_ACCOUNT_FROZEN] = "frozen",
                                             [KEYD_ACCOUNT_CLOSED] = "closed"};

static const char *const reasons[] = {[KEYD_FREEZE_NONE] = "-",
                                      [KEYD_FREEZE_THEFT] = "theft",
                                      [KEYD_FREEZE_ABUSE] = "abuse",
                                      [KEYD_FREEZE_OTHER] = "other"};

static const char *
text_of(const char *const *table, size_t n, size_t i)
{
    return i < n && table[i] != NULL ? table[i] : "unknown";
}
#define TEXT_OF(table, i) text_of(table, sizeof table / sizeof *table, (size_t)(i))

static const char *
yes_no(bool b)
{
    return b ? "yes" : "no";
}

/* --- account ------------------------------------------------------------------------
 */

static int
tell_account(const struct options *o, const struct keyd_answer *a,
             const struct name *address, bool changes)
{
    const char *state = TEXT_OF(account_states, a->out.account.state);
    const char *reason = TEXT_OF(reasons, a->out.account.reason);
    char since[TIME_TEXT];

    if (o->json) {
        json_t *j = json_object();
        bool good = json_put(j, "address", json_string(address->text)) &&
                    json_put(j, "state", json_string(state)) &&
                    json_put(j, "since", json_time(a->out.account.since_ms)) &&
                    json_put(j, "attested", json_boolean(a->out.account.attested));
        if (good && a->out.account.reason != KEYD_FREEZE_NONE)
            good = json_put(j, "reason", json_string(reason));
        if (good && changes)
            good = json_put(j, "changed", json_boolean(a->out.account.changed));
        if (!good) {
            json_decref(j);
            j = NULL;
        }
        return json_done(j, EX_OK);
    }
    emit(stdout, "%-9s %s\n%-9s %s%s\n%-9s %s\n%-9s %s\n%-9s %s\n", "address",
         address->text, "state", state,
         changes && !a->out.account.changed ? ", as it was" : "", "reason", reason,
         "since", time_text(a->out.account.since_ms, since), "eci",
         a->out.account.attested ? "attested" : "not attested");
    return EX_OK;
}

static int
account(const struct options *o, enum keyd_account_action action,
        enum keyd_freeze_reason reason)
{
    struct keyd_request q = {.op = KEYD_OP_FREEZE_ADDRESS};
    struct keyd_answer *a = NULL;
    struct name address;
    int status = name_read(o->args[0], o->args[0], NAME_ADDRESS, &address);

    if (status != EX_OK)
        return status;
    q.in.freeze_address.address = KEYD_STR(address.text);
    q.in.freeze_address.action = action;
    q.in.freeze_address.reason = reason;
    status = session_once(o, &q, &a);
    if (status == EX_OK)
        status = tell_account(o, a, &address, action != KEYD_ACCOUNT_SHOW);
    keyd_client_answer_free(a);
    return status;
}

int
verb_account_show(const struct options *o)
{
    return account(o, KEYD_ACCOUNT_SHOW, KEYD_FREEZE_NONE);
}

int
verb_account_freeze(const struct options *o)
{
    for (size_t i = KEYD_FREEZE_THEFT; o->reason != NULL && i <= KEYD_FREEZE_OTHER; i++)
        if (strcmp(reasons[i], o->reason) == 0)
            return account(o, KEYD_ACCOUNT_FREEZE, (enum keyd_freeze_reason)i);
    return usage_error("--reason", "theft, abuse or other is needed");
}

int
verb_account_thaw(const struct options *o)
{
    return account(o, KEYD_ACCOUNT_THAW, KEYD_FREEZE_NONE);
}

int
verb_account_close(const struct options *o)
{
    return account(o, KEYD_ACCOUNT_CLOSE, KEYD_FREEZE_NONE);
}

static int
attestation(const struct options *o, enum keyd_account_action action)
{
    if (o->level == NULL || strcmp(o->level, "eci") != 0)
        return usage_error("--level", "eci, the one level that takes an attestation");
    return account(o, action, KEYD_FREEZE_NONE);
}

int
verb_account_attest(const struct options *o)
{
    return attestation(o, KEYD_ACCOUNT_ATTEST);
}

int
verb_account_revoke(const struct options *o)
{
    return attestation(o, KEYD_ACCOUNT_REVOKE);
}

/* --- reset --------------------------------------------------------------------------
 */

/* "2 d 23:59:12"; returns out. */
static const char *
remaining_text(uint64_t ms, char out[40])
{
    uint64_t s = ms / 1000 + (ms % 1000 != 0);

    if (s == 0)
        return "none";
    kd_ignore(snprintf(out, 40, "%ju d %02u:%02u:%02u", (uintmax_t)(s / 86400),
                       (unsigned)(s / 3600 % 24), (unsigned)(s / 60 % 60),
                       (unsigned)(s % 60)));
    return out;
}

static json_t *
reset_to_json(const struct keyd_reset *r)
{
    json_t *j = json_object();
    bool good =
        json_put(j, "address", json_octets(slice_of(r->address))) &&
        json_put(j, "generation", json_integer((json_int_t)r->generation)) &&
        json_put(j, "requested", json_time(r->requested_ms)) &&
        json_put(j, "remaining_ms", json_integer((json_int_t)r->remaining_ms)) &&
        json_put(j, "approved", json_boolean(r->approved));

    if (good)
        return j;
    json_decref(j);
    return NULL;
}

static void
print_reset(const struct keyd_reset *r)
{
    char requested[TIME_TEXT], remaining[40];

    emit(stdout, "%-24s  %-16s  %-8s  ", time_text(r->requested_ms, requested),
         remaining_text(r->remaining_ms, remaining), yes_no(r->approved));
    print_text(stdout, slice_of(r->address));
    emit(stdout, "\n");
}

static void
print_reset_head(void)
{
    emit(stdout, "%-24s  %-16s  %-8s  %s\n", "requested", "remaining", "approved",
         "address");
}

/* One page onto the list, or printed. */
static int
tell_resets(const struct keyd_answer *a, json_t *list)
{
    for (size_t i = 0; i < a->out.resets.n_resets; i++) {
        const struct keyd_reset *r = &a->out.resets.resets[i];
        if (list == NULL)
            print_reset(r);
        else if (json_array_append_new(list, reset_to_json(r)) != 0)
            return EX_OSERR;
    }
    return EX_OK;
}

int
verb_reset_list(const struct options *o)
{
    struct keyd_request q = {.op = KEYD_OP_RESET_ADDRESS,
                             .in.reset_address.action = KEYD_RESET_LIST};
    json_t *list = o->json ? json_array() : NULL;
    struct keyd_answer *page = NULL;
    struct session s = {0};
    int status = session_open(&s, o);

    if (status == EX_OK && !o->json)
        print_reset_head();
    for (bool more = true; status == EX_OK && more;) {
        struct keyd_answer *next = NULL;
        status = session_call(&s, &q, &next);
        /* `next` of the page before was borrowed until here. */
        keyd_client_answer_free(page);
        page = next;
        if (status == EX_OK)
            status = tell_resets(page, list);
        more = status == EX_OK && page->out.resets.next.n != 0;
        if (more)
            q.in.reset_address.address = page->out.resets.next;
    }
    keyd_client_answer_free(page);
    session_close(&s);
    if (!o->json)
        return status;
    if (status == EX_OK)
        return json_done(json_pack("{s:o}", "resets", list), EX_OK);
    json_decref(list);
    return status;
}

static int
tell_reset(const struct options *o, const struct keyd_answer *a, bool ends)
{
    bool one = a->out.resets.n_resets == 1;

    if (o->json) {
        json_t *j = one ? reset_to_json(&a->out.resets.resets[0]) : json_object();
        if (!json_put(j, "changed", json_boolean(a->out.resets.changed))) {
            json_decref(j);
            j = NULL;
        }
        return json_done(j, EX_OK);
    }
    if (ends) {
        emit(stdout, "no reset is pending any more\n");
        return EX_OK;
    }
    print_reset_head();
    return tell_resets(a, NULL);
}

static int
reset(const struct options *o, enum keyd_reset_action action)
{
    struct keyd_request q = {.op = KEYD_OP_RESET_ADDRESS};
    struct keyd_answer *a = NULL;
    struct name address;
    int status = name_read(o->args[0], o->args[0], NAME_ADDRESS, &address);

    if (status != EX_OK)
        return status;
    q.in.reset_address.action = action;
    q.in.reset_address.address = KEYD_STR(address.text);
    status = session_once(o, &q, &a);
    if (status == EX_OK)
        status = tell_reset(o, a, action == KEYD_RESET_CANCEL);
    keyd_client_answer_free(a);
    return status;
}

int
verb_reset_request(const struct options *o)
{
    return reset(o, KEYD_RESET_REQUEST);
}

int
verb_reset_approve(const struct options *o)
{
    return reset(o, KEYD_RESET_APPROVE);
}

int
verb_reset_cancel(const struct options *o)
{
    return reset(o, KEYD_RESET_CANCEL);
}

/* --- principal ----------------------------------------------------------------------
 */

static json_t *
stopped_to_json(const struct keyd_answer *a)
{
    json_t *list = json_array();

    for (size_t i = 0; i < a->out.stopped.n_stopped; i++) {
        const struct keyd_stopped *p = &a->out.stopped.stopped[i];
        json_t *j =
            json_pack("{s:o, s:o}", "class", json_octets(slice_of(p->class_name)),
                      "name", json_octets(slice_of(p->name)));
        list = json_list_add(list, j);
    }
    return list;
}

static int
tell_stopped(const struct options *o, const struct keyd_answer *a, bool changes)
{
    if (o->json) {
        json_t *j = json_object();
        if (!json_put(j, "stopped", stopped_to_json(a)) ||
            (changes &&
             !json_put(j, "changed", json_boolean(a->out.stopped.changed)))) {
            json_decref(j);
            j = NULL;
        }
        return json_done(j, EX_OK);
    }
    emit(stdout, "%-12s  %s\n", "class", "stopped principal");
    for (size_t i = 0; i < a->out.stopped.n_stopped; i++) {
        const struct keyd_stopped *p = &a->out.stopped.stopped[i];
        print_text(stdout, slice_of(p->class_name));
        emit(stdout, "%*s  ", p->class_name.n < 12 ? (int)(12 - p->class_name.n) : 0,
             "");
        print_text(stdout, slice_of(p->name));
        emit(stdout, "\n");
    }
    return EX_OK;
}

static int
principal(const struct options *o, enum keyd_stop_action action, const char *name)
{
    struct keyd_request q = {.op = KEYD_OP_STOP_PRINCIPAL};
    struct keyd_answer *a = NULL;

    q.in.stop_principal.action = action;
    if (name != NULL)
        q.in.stop_principal.name = KEYD_STR(name);
    int status = session_once(o, &q, &a);
    if (status == EX_OK)
        status = tell_stopped(o, a, action != KEYD_STOP_LIST);
    keyd_client_answer_free(a);
    return status;
}

int
verb_principal_list(const struct options *o)
{
    return principal(o, KEYD_STOP_LIST, NULL);
}

int
verb_principal_stop(const struct options *o)
{
    return principal(o, KEYD_STOP_STOP, o->args[0]);
}

int
verb_principal_allow(const struct options *o)
{
    return principal(o, KEYD_STOP_ALLOW, o->args[0]);
}
