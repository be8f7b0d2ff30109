/* keydctl status, health, policy shadow. */
#include "keydctl.h"

#include <keyd/job/state.h>

static const char *const states[] = {
    [KEYD_STATE_UNPROVISIONED] = "unprovisioned", [KEYD_STATE_SEALED] = "sealed",
    [KEYD_STATE_OPERATIONAL] = "operational",     [KEYD_STATE_DEGRADED] = "degraded",
    [KEYD_STATE_DRAINING] = "draining",           [KEYD_STATE_FAILED] = "failed",
    [KEYD_STATE_STARTING] = "starting",
};

static const char *const roles[] = {
    [KEYD_PROCESS_SUPERVISOR] = "supervisor",
    [KEYD_PROCESS_GATE] = "gate",
    [KEYD_PROCESS_VAULT] = "vault",
    [KEYD_PROCESS_LEDGER] = "ledger",
    [KEYD_PROCESS_P11] = "p11",
};

const char *
state_text(enum keyd_service_state state)
{
    return (size_t)state < sizeof states / sizeof *states && states[state] != NULL
               ? states[state]
               : "unknown";
}

static const char *
process_text(enum keyd_process_role role)
{
    return (size_t)role < sizeof roles / sizeof *roles && roles[role] != NULL
               ? roles[role]
               : "unknown";
}

static const char *
yes_no(bool b)
{
    return b ? "yes" : "no";
}

/* --- text ---------------------------------------------------------------------------
 */

static void
print_processes(const struct keyd_answer *a)
{
    emit(stdout, "\n%-10s %-10s %8s %8s  %-7s  %s\n", "process", "name", "pid", "uid",
         "sandbox", "keys");
    for (size_t i = 0; i < a->out.status.n_processes; i++) {
        const struct keyd_process *p = &a->out.status.processes[i];
        emit(stdout, "%-10s ", process_text(p->role));
        print_text(stdout, slice_of(p->name));
        int blanks = p->name.n < 10 ? (int)(10 - p->name.n) : 0;
        emit(stdout, "%*s %8u %8u  %-7s  %s\n", blanks, "", (unsigned)p->pid,
             (unsigned)p->uid, yes_no(p->sandbox), yes_no(p->holds_keys));
    }
}

/* What is wrong, in words and in a sentence. */
static void
print_reasons(const struct keyd_answer *a)
{
    for (size_t i = 0; i < a->out.status.n_reasons; i++) {
        struct kd_slice word = slice_of(a->out.status.reasons[i]);
        const char *sentence = kd_state_text(word);
        emit(stdout, "because          ");
        print_text(stdout, word);
        emit(stdout, "%s%s\n", sentence == NULL ? "" : ": ",
             sentence == NULL ? "" : sentence);
    }
}

static void
print_status(const struct keyd_answer *a)
{
    char text[TIME_TEXT];

    emit(stdout, "state            %s\n", state_text(a->out.status.state));
    print_reasons(a);
    emit(stdout, "probe            %s",
         a->out.status.probe_ok ? "good" : "none or bad");
    if (a->out.status.probe_us != 0)
        emit(stdout, ", %u us a key", (unsigned)a->out.status.probe_us);
    emit(stdout, "\nversion          ");
    print_text(stdout, slice_of(a->out.status.version));
    emit(stdout, "\nsingle operator  %s\n", yes_no(a->out.status.single_operator));
    if (a->out.status.started_ms != 0)
        emit(stdout, "started          %s\n",
             time_text(a->out.status.started_ms, text));
    emit(stdout, "vault epoch      %ju\n", (uintmax_t)a->out.status.epoch);
    emit(stdout, "audit records    %ju\n", (uintmax_t)a->out.status.audit_seq);
    for (size_t i = 0; i < a->out.status.n_counters; i++) {
        const struct keyd_counter *c = &a->out.status.counters[i];
        print_text(stdout, slice_of(c->name));
        emit(stdout, "%*s %ju\n", c->name.n < 16 ? (int)(16 - c->name.n) : 0, "",
             (uintmax_t)c->value);
    }
    print_processes(a);
}

/* --- JSON ---------------------------------------------------------------------------
 */

static json_t *
processes_to_json(const struct keyd_answer *a)
{
    json_t *list = json_array();

    for (size_t i = 0; i < a->out.status.n_processes; i++) {
        const struct keyd_process *p = &a->out.status.processes[i];
        json_t *j = json_pack(
            "{s:s, s:o, s:I, s:I, s:b, s:b}", "role", process_text(p->role), "name",
            json_octets(slice_of(p->name)), "pid", (json_int_t)p->pid, "uid",
            (json_int_t)p->uid, "sandbox", p->sandbox, "holds_keys", p->holds_keys);
        list = json_list_add(list, j);
    }
    return list;
}

static json_t *
counters_to_json(const struct keyd_answer *a)
{
    json_t *j = json_object();

    for (size_t i = 0; i < a->out.status.n_counters; i++) {
        const struct keyd_counter *c = &a->out.status.counters[i];
        char name[64];
        if (c->name.n >= sizeof name)
            continue; /* beyond the protocol's limit */
        memcpy(name, c->name.p, c->name.n);
        name[c->name.n] = '\0';
        if (!json_put(j, name, json_integer((json_int_t)c->value))) {
            json_decref(j);
            return NULL;
        }
    }
    return j;
}

static json_t *
reasons_to_json(const struct keyd_answer *a)
{
    json_t *list = json_array();

    for (size_t i = 0; i < a->out.status.n_reasons; i++) {
        json_t *j = json_octets(slice_of(a->out.status.reasons[i]));
        list = json_list_add(list, j);
    }
    return list;
}

/* null where no policy is watched. */
static json_t *
shadow_to_json(const struct keyd_answer *a)
{
    if (!a->out.status.shadow_on)
        return json_null();
    json_t *list = json_array();
    for (size_t i = 0; i < a->out.status.n_shadow; i++) {
        const struct keyd_shadow_line *l = &a->out.status.shadow[i];
        json_t *j = json_pack(
            "{s:o, s:o, s:I, s:I}", "principal", json_octets(slice_of(l->principal)),
            "operation", json_octets(slice_of(l->operation)), "would_refuse",
            (json_int_t)l->would_refuse, "would_allow", (json_int_t)l->would_allow);
        list = json_list_add(list, j);
    }
    return json_pack("{s:o, s:I, s:o}", "since",
                     json_time(a->out.status.shadow_since_ms), "pairs",
                     (json_int_t)a->out.status.shadow_pairs, "lines", list);
}

static json_t *
status_to_json(const struct keyd_answer *a)
{
    json_t *j = json_object();
    bool good =
        json_put(j, "state", json_string(state_text(a->out.status.state))) &&
        json_put(j, "reasons", reasons_to_json(a)) &&
        json_put(j, "probe_ok", json_boolean(a->out.status.probe_ok)) &&
        json_put(j, "probe_us", json_integer((json_int_t)a->out.status.probe_us)) &&
        json_put(j, "version", json_octets(slice_of(a->out.status.version))) &&
        json_put(j, "single_operator", json_boolean(a->out.status.single_operator)) &&
        json_put(j, "started", json_time(a->out.status.started_ms)) &&
        json_put(j, "epoch", json_integer((json_int_t)a->out.status.epoch)) &&
        json_put(j, "audit_seq", json_integer((json_int_t)a->out.status.audit_seq)) &&
        json_put(j, "counters", counters_to_json(a)) &&
        json_put(j, "processes", processes_to_json(a)) &&
        json_put(j, "shadow", shadow_to_json(a));

    if (good)
        return j;
    json_decref(j);
    return NULL;
}

/* --- verbs --------------------------------------------------------------------------
 */

int
verb_status(const struct options *o)
{
    struct keyd_request q = {.op = KEYD_OP_STATUS};
    struct keyd_answer *a = NULL;
    int status = session_once(o, &q, &a);

    if (status == EX_OK && o->json)
        status = json_done(status_to_json(a), EX_OK);
    else if (status == EX_OK)
        print_status(a);
    keyd_client_answer_free(a);
    return status;
}

/* As monitors understand it: 0 well, 1 look soon, 2 look now. A service that starts or
 * drains is on its way somewhere. */
static int
health_of(const struct keyd_answer *a)
{
    switch (a->out.status.state) {
    case KEYD_STATE_OPERATIONAL:
        return a->out.status.probe_ok ? EX_OK : EX_WARNING;
    case KEYD_STATE_DEGRADED:
    case KEYD_STATE_DRAINING:
    case KEYD_STATE_STARTING:
        return EX_WARNING;
    case KEYD_STATE_UNPROVISIONED:
    case KEYD_STATE_SEALED:
    case KEYD_STATE_FAILED:
        break;
    }
    return EX_CRITICAL;
}

static int
tell_health(const struct options *o, const struct keyd_answer *a)
{
    enum keyd_service_state state = a->out.status.state;
    bool probe = a->out.status.probe_ok;
    int status = health_of(a);

    if (o->json)
        return json_done(json_pack("{s:b, s:s, s:o, s:b, s:I}", "healthy",
                                   status == EX_OK, "state", state_text(state),
                                   "reasons", reasons_to_json(a), "probe_ok", probe,
                                   "probe_us", (json_int_t)a->out.status.probe_us),
                         status);
    emit(stdout, "%s, %s", state_text(state), probe ? "probe good" : "no good probe");
    for (size_t i = 0; i < a->out.status.n_reasons; i++) {
        emit(stdout, i == 0 ? ": " : ", ");
        print_text(stdout, slice_of(a->out.status.reasons[i]));
    }
    emit(stdout, "\n");
    return status;
}

/* For monitors, which want to know one thing: that nobody answers is as bad as it
 * gets. */
int
verb_health(const struct options *o)
{
    struct keyd_request q = {.op = KEYD_OP_STATUS};
    struct keyd_answer *a = NULL;
    int status = session_once(o, &q, &a);

    status = status == EX_OK ? tell_health(o, a) : EX_CRITICAL;
    keyd_client_answer_free(a);
    return status;
}

/* --- policy shadow ------------------------------------------------------------------
 */

static void
print_padded(struct kd_slice text, size_t width)
{
    print_text(stdout, text);
    emit(stdout, "%*s", text.n < width ? (int)(width - text.n) : 0, "");
}

static int
print_shadow(const struct keyd_answer *a)
{
    char text[TIME_TEXT];

    if (!a->out.status.shadow_on) {
        emit(stdout, "no policy is watched (shadow-policy in keyd.conf)\n");
        return EX_NEGATIVE;
    }
    emit(stdout, "since %s, %u pairs of principal and operation differ\n",
         time_text(a->out.status.shadow_since_ms, text),
         (unsigned)a->out.status.shadow_pairs);
    if (a->out.status.n_shadow != 0)
        emit(stdout, "\n%-32s %-18s %14s %14s\n", "principal", "operation",
             "would refuse", "would allow");
    for (size_t i = 0; i < a->out.status.n_shadow; i++) {
        const struct keyd_shadow_line *l = &a->out.status.shadow[i];
        print_padded(slice_of(l->principal), 33);
        print_padded(slice_of(l->operation), 19);
        emit(stdout, "%14ju %14ju\n", (uintmax_t)l->would_refuse,
             (uintmax_t)l->would_allow);
    }
    return EX_OK;
}

int
verb_policy_shadow(const struct options *o)
{
    struct keyd_request q = {.op = KEYD_OP_STATUS};
    struct keyd_answer *a = NULL;
    int status = session_once(o, &q, &a);

    if (status == EX_OK && o->json)
        status =
            json_done(shadow_to_json(a), a->out.status.shadow_on ? EX_OK : EX_NEGATIVE);
    else if (status == EX_OK)
        status = print_shadow(a);
    keyd_client_answer_free(a);
    return status;
}
