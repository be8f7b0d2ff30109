/* dime resolve: what a name is, with which signet, and every step on the way. */
#include "dime_tool.h"

#include <dime/policy.h>
#include <dime/resolver.h>
#include <keyd/base/clock.h>
#include <pwd.h>
#include <stdlib.h>
#include <sysexits.h>
#include <unistd.h>

enum { TIMEOUT_SECONDS = 60, TIMEOUT_MOST = 3600, PATH_SIZE = 4096 };

/* --- settings --- */

/* Where a user's state lies (XDG Base Directory); false without a home. */
static bool
state_of_user(char path[PATH_SIZE])
{
    const char *state = getenv("XDG_STATE_HOME"), *home = getenv("HOME");
    int n = -1;

    if (state != NULL && state[0] == '/')
        n = snprintf(path, PATH_SIZE, "%s/dime", state);
    else if (home != NULL && home[0] == '/')
        n = snprintf(path, PATH_SIZE, "%s/.local/state/dime", home);
    return n > 0 && n < PATH_SIZE;
}

static bool
read_seconds(const char *text, int64_t *out)
{
    char *end;

    if (text == NULL) {
        *out = TIMEOUT_SECONDS;
        return true;
    }
    long v = strtol(text, &end, 10);
    *out = v;
    return text[0] >= '0' && text[0] <= '9' && *end == '\0' && v >= 1 &&
           v <= TIMEOUT_MOST;
}

static bool
read_stance(const char *text, enum dime_stance *out)
{
    *out = DIME_STANCE_MIXED;
    for (unsigned i = 0; text != NULL && i < DIME_STANCES; i++)
        if (strcmp(text, dime_stance_name((enum dime_stance)i)) == 0) {
            *out = (enum dime_stance)i;
            return true;
        }
    return text == NULL;
}

static int
resolver_open(const struct options *o, struct dime_resolver **out)
{
    char state[PATH_SIZE];
    const char *why = NULL;
    bool has_state = o->state != NULL || state_of_user(state);
    const struct dime_resolver_conf conf = {
        .state_dir = o->state != NULL ? o->state : (has_state ? state : NULL),
        .anchor_file = o->anchor,
        .forwarder = o->forwarder,
        .hints_file = o->hints,
        .ca_file = o->ca,
        .takes_libdime = (o->flags & OPT_LIBDIME) != 0};

    if (!has_state)
        complain("resolve", "no home: nothing that is learnt is kept");
    kd_err err = dime_resolver_new(&conf, out, &why);
    if (err == KD_OK)
        return HOLDS;
    complain("resolve", why != NULL ? why : kd_err_text(err));
    return TROUBLE;
}

/* --- showing --- */

static void
fingerprint_of(struct kd_slice octets, enum dime_part part,
               char text[DIME_FINGERPRINT_CHARS + 1])
{
    struct dime_signet s;
    enum dime_reason why;
    uint8_t fp[DIME_FINGERPRINT_SIZE];

    text[0] = '\0';
    if (octets.n != 0 && dime_signet_parse(octets, &s, &why) == KD_OK &&
        dime_fingerprint(&s, part, fp) == KD_OK)
        dime_fingerprint_text(fp, text);
}

static const char *
weight_word(unsigned weight)
{
    static const char *const words[] = {"note", "warning", "alarm"};

    return weight < sizeof words / sizeof *words ? words[weight] : "?";
}

static void
steps_print(const struct dime_answer *a)
{
    for (size_t i = 0; i < a->n_steps; i++)
        emit(stdout, "  %-13s %s%s%s\n", a->steps[i].word,
             a->steps[i].weight == 0 ? "" : weight_word(a->steps[i].weight),
             a->steps[i].weight == 0 ? "" : ": ", a->steps[i].text);
    if (a->n_steps_lost != 0)
        emit(stdout, "  and %zu more\n", a->n_steps_lost);
}

static void
chain_print(const struct dime_answer *a)
{
    char text[DIME_FINGERPRINT_CHARS + 1];

    if (a->outcome != DIME_IS_CHAIN_BROKEN)
        return;
    dime_fingerprint_text(a->known, text);
    emit(stdout, "known         %s\n", text);
    dime_fingerprint_text(a->found, text);
    emit(stdout, "found         %s\n", text);
}

static void
answer_print(const struct dime_answer *a, enum dime_stance ours)
{
    char text[DIME_FINGERPRINT_CHARS + 1];

    emit(stdout, "name          %s\n", a->name);
    emit(stdout, "outcome       %s\n", dime_outcome_name(a->outcome));
    emit(stdout, "to send       %s (we are %s)\n",
         dime_disposition_name(dime_policy_send(ours, a)), dime_stance_name(ours));
    if (a->record != NULL) {
        emit(stdout, "record        of %s, %s%s\n", a->domain,
             a->is_secure ? "by DNSSEC" : "without DNSSEC",
             a->is_kept ? ", kept: the DNS has none now" : "");
        emit(stdout, "policy        %s\n", dime_mrec_policy_name(a->record->policy));
    }
    fingerprint_of(a->org_signet, DIME_PART_FULL, text);
    if (text[0] != '\0')
        emit(stdout, "organization  %s\n", text);
    fingerprint_of(a->user_signet, DIME_PART_FULL, text);
    if (text[0] != '\0')
        emit(stdout, "signet        %s\n", text);
    chain_print(a);
    emit(stdout, "steps\n");
    steps_print(a);
}

static json_t *
steps_to_json(const struct dime_answer *a)
{
    json_t *list = json_array();

    for (size_t i = 0; i < a->n_steps; i++)
        list = json_list_add(
            list, json_pack("{s:s, s:s, s:s}", "step", a->steps[i].word, "weight",
                            weight_word(a->steps[i].weight), "text", a->steps[i].text));
    return list;
}

static bool
put_fingerprint(json_t *j, const char *key, const uint8_t fp[DIME_FINGERPRINT_SIZE])
{
    char text[DIME_FINGERPRINT_CHARS + 1];

    dime_fingerprint_text(fp, text);
    return json_put(j, key, json_string(text));
}

static bool
put_signet(json_t *j, const char *key, struct kd_slice octets)
{
    struct dime_signet s;
    enum dime_reason why;

    if (octets.n == 0 || dime_signet_parse(octets, &s, &why) != KD_OK)
        return true;
    return json_put(j, key, signet_to_json(&s));
}

static bool
put_record(json_t *j, const struct dime_answer *a)
{
    if (a->record == NULL)
        return true;
    return json_put(j, "domain", json_string(a->domain)) &&
           json_put(j, "policy",
                    json_string(dime_mrec_policy_name(a->record->policy))) &&
           json_put(j, "dnssec", json_boolean(a->is_secure)) &&
           json_put(j, "kept", json_boolean(a->is_kept)) &&
           json_put(j, "record-until", json_integer(a->record_until));
}

static json_t *
answer_to_json(const struct dime_answer *a, enum dime_stance ours)
{
    json_t *j = json_pack("{s:s, s:b, s:s, s:s, s:b, s:s, s:I}", "type", "resolution",
                          "valid", a->outcome == DIME_IS_DARK, "name", a->name,
                          "outcome", dime_outcome_name(a->outcome), "temporary",
                          dime_outcome_is_temporary(a->outcome), "send",
                          dime_disposition_name(dime_policy_send(ours, a)),
                          "fresh-until", (json_int_t)a->fresh_until);
    bool good = j != NULL && put_record(j, a) &&
                put_signet(j, "organization", a->org_signet) &&
                put_signet(j, "signet", a->user_signet) &&
                json_put(j, "steps", steps_to_json(a)) &&
                json_put(j, "steps-lost", json_integer((json_int_t)a->n_steps_lost));

    if (good && a->outcome == DIME_IS_CHAIN_BROKEN)
        good = put_fingerprint(j, "known", a->known) &&
               put_fingerprint(j, "found", a->found);
    if (good)
        return j;
    json_decref(j);
    return NULL;
}

/* --- asking --- */

static int
status_of(const struct dime_answer *a)
{
    if (a->outcome == DIME_IS_DARK)
        return HOLDS;
    return dime_outcome_is_temporary(a->outcome) ? EX_TEMPFAIL : FAILS;
}

/* -o: the signet that was asked for, in armour. */
static int
signet_save(const struct options *o, const struct dime_answer *a)
{
    struct kd_slice octets = a->user_signet.n != 0 ? a->user_signet : a->org_signet;

    if (o->out == NULL || a->outcome != DIME_IS_DARK)
        return HOLDS;
    return object_write(o->out, octets, true);
}

static int
ask(const struct options *o, struct dime_resolver *r, enum dime_stance ours,
    int64_t seconds)
{
    const struct dime_answer *a = NULL;
    const struct dime_query q = {
        .name = o->file,
        .flags = ((o->flags & OPT_FRESH) != 0 ? DIME_QUERY_FRESH : 0U) |
                 ((o->flags & OPT_OFFLINE) != 0 ? DIME_QUERY_OFFLINE : 0U) |
                 ((o->flags & OPT_WITNESS) != 0 ? DIME_QUERY_WITNESS : 0U),
        .deadline = kd_clock_ms() + seconds * 1000};
    kd_err err = dime_resolve(r, &q, &a);

    if (err != KD_OK) {
        complain("resolve", kd_err_text(err));
        return TROUBLE;
    }
    int status = signet_save(o, a);
    if (status == HOLDS)
        status = status_of(a);
    if (o->json)
        status = json_finish(answer_to_json(a, ours), status);
    else
        answer_print(a, ours);
    dime_answer_free(a);
    return status;
}

static int
accept(const struct options *o, struct dime_resolver *r)
{
    uint8_t fp[DIME_FINGERPRINT_SIZE];

    if (dime_fingerprint_read(kd_slice_str(o->accept), fp) != KD_OK) {
        complain("--accept", "wants a core fingerprint of 86 characters");
        return TROUBLE;
    }
    kd_err err = dime_resolver_accept(r, o->file, fp);
    if (err == KD_OK)
        return HOLDS;
    complain(o->file, err == KD_NOT_FOUND ? "that is not what was found last"
                                          : kd_err_text(err));
    return FAILS;
}

int
verb_resolve(const struct options *o)
{
    struct dime_resolver *r = NULL;
    enum dime_stance ours;
    int64_t seconds;

    if (!read_stance(o->policy, &ours) || !read_seconds(o->timeout, &seconds)) {
        complain("resolve", "--policy legacy, experimental, mixed or strict; --timeout "
                            "1 to 3600 seconds");
        return TROUBLE;
    }
    int status = resolver_open(o, &r);
    if (status == HOLDS && o->accept != NULL)
        status = accept(o, r);
    if (status == HOLDS)
        status = ask(o, r, ours, seconds);
    dime_resolver_free(r);
    return status;
}
