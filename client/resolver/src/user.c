/* The signet of an address: fetched from its domain's hosts, believed by the
 * organizational signet, and by the chain that leads to it (RS-8 to RS-14, D-069 to
 * D-073). */
#include "asking.h"

enum { NO_SIGNET_SECONDS = 60 }; /* for so long that is not asked again */

struct finding {
    struct asking *a;
    const struct dime_signet *org;
    struct pinned old;
    struct kd_buf *octets;
    int64_t *fresh_until;
    uint8_t *known, *found;
};

static enum dime_outcome
answer_with(struct finding *f, struct kd_slice octets, int64_t until)
{
    kd_buf_reset(f->octets);
    kd_buf_put(f->octets, octets);
    *f->fresh_until = until;
    return f->octets->err == KD_OK ? DIME_IS_DARK : DIME_IS_UNREACHABLE;
}

/* The user may take it by hand, having compared both (D-070). */
static enum dime_outcome
chain_is_broken(struct finding *f, const struct dime_signet *signet, const char *why)
{
    struct asking *a = f->a;

    steps_alarm(a->steps, STEP_CHAIN, "the chain of custody is broken: %s", why);
    if (f->old.is_there)
        memcpy(f->known, f->old.core, DIME_FINGERPRINT_SIZE);
    if (dime_fingerprint(signet, DIME_PART_CORE, f->found) == KD_OK &&
        a->store != NULL &&
        store_found_put(a->store, a->name, signet->raw, f->found, a->now) != KD_OK)
        steps_warn(a->steps, STEP_RING, "it could not be kept to be accepted");
    return DIME_IS_CHAIN_BROKEN;
}

/* The links between what is known, or the root, and this one. */
static enum dime_outcome
follow_chain(struct finding *f, const struct dime_signet *signet)
{
    static const char unheard[] = "the host does not give its history";
    struct asking *a = f->a;
    bool is_first = !f->old.is_there;
    const struct session_question q = {SESSION_HIST, a->name,
                                       is_first ? NULL : f->old.core};
    struct dmtp_reply reply;
    struct chain chain;
    enum session_end end = session_ask(a->session, &q, &reply);

    if (end != SESSION_ANSWERED && !is_first)
        return session_outcome(end);
    if ((end != SESSION_ANSWERED || reply.code != 290) && is_first) {
        /* Nothing is known that it could be compared with (D-071). */
        steps_warn(a->steps, STEP_CHAIN, "%s: it is pinned as it is", unheard);
        return DIME_IS_DARK;
    }
    if (reply.code != 290)
        return chain_is_broken(f, signet, unheard);
    chain_begin(&chain, is_first ? NULL : &f->old.signet);
    for (size_t i = 0; i < reply.n_links; i++)
        chain_add(&chain, reply.links[i]);
    if (chain_end(&chain, signet) != KD_OK)
        return chain_is_broken(f, signet, chain_fault_text(chain.fault));
    steps_add(a->steps, STEP_CHAIN, "%zu links, from %s to the current signet", chain.n,
              is_first ? "the root" : "the known one");
    return DIME_IS_DARK;
}

static bool
has_custody(const struct dime_signet *s)
{
    return dime_signet_signature(s, DIME_USER_CUSTODY) != NULL;
}

/* A new one is there, valid: is it the known one's heir? */
static enum dime_outcome
look_at_chain(struct finding *f, const struct dime_signet *signet)
{
    if (f->old.is_there && dime_signet_same_link(signet, &f->old.signet)) {
        steps_add(f->a->steps, STEP_CHAIN, "the known one, signed anew");
        return DIME_IS_DARK;
    }
    if (!f->old.is_there && !has_custody(signet)) {
        steps_add(f->a->steps, STEP_CHAIN, "first contact, the root of a chain");
        return DIME_IS_DARK;
    }
    if (!has_custody(signet))
        return chain_is_broken(f, signet, "nobody handed over to it");
    return follow_chain(f, signet);
}

static enum dime_outcome
judge(struct finding *f, struct kd_slice sent)
{
    struct asking *a = f->a;
    struct dime_signet signet;
    struct validate_why why;
    struct kd_buf copy;
    kd_err err;

    /* The history is asked for on the same connection, whose replies do not last. */
    kd_buf_init(&copy, DMTP_SIGNET_MAX);
    kd_buf_put(&copy, sent);
    if (copy.err != KD_OK)
        return DIME_IS_UNREACHABLE;
    err =
        validate_user(kd_buf_slice(&copy), a->name, a->supplier, f->org, &signet, &why);
    if (err == KD_OK && a->fingerprint != NULL)
        err = validate_fingerprint(&signet, a->fingerprint, &why);
    enum dime_outcome out =
        err == KD_OK ? DIME_IS_DARK : tell_fault(a, STEP_USER_SIGNET, &why);
    if (err == KD_OK) {
        steps_add(a->steps, STEP_USER_SIGNET, "valid under the organizational signet");
        /* One that was asked for by its fingerprint may be any of the chain. */
        if (a->fingerprint == NULL)
            out = look_at_chain(f, &signet);
    }
    if (out == DIME_IS_DARK && a->fingerprint == NULL)
        pinned_put(a, a->name, &signet, false);
    if (out == DIME_IS_DARK || out == DIME_IS_UNBOUND) {
        enum dime_outcome copied =
            answer_with(f, kd_buf_slice(&copy), a->now + a->conf->user_lifetime);
        out = copied == DIME_IS_DARK ? out : copied;
    }
    kd_buf_free(&copy);
    return out;
}

static enum dime_outcome
of_reply(struct finding *f, const struct dmtp_reply *reply)
{
    struct asking *a = f->a;

    switch (reply->code) {
    case 280:
        return judge(f, reply->signet);
    case 281:
        if (!f->old.is_there)
            break;
        steps_add(a->steps, STEP_VERIFY, "the signet is current");
        if (a->store != NULL &&
            store_signet_confirm(a->store, a->name, a->now) != KD_OK)
            steps_warn(a->steps, STEP_RING, "that could not be written down");
        return pinned_use(&f->old, f->octets, f->fresh_until,
                          a->now + a->conf->user_lifetime);
    case 476:
        steps_add(a->steps, STEP_USER_SIGNET, "a valid address without a signet (476)");
        *f->fresh_until = a->now + NO_SIGNET_SECONDS;
        return DIME_IS_NOT_ENABLED;
    case 576:
        steps_add(a->steps, STEP_USER_SIGNET, "the host has no signet of it (576)");
        *f->fresh_until = a->now + NO_SIGNET_SECONDS;
        return DIME_IS_NO_SIGNET;
    default:
        break;
    }
    steps_warn(a->steps, STEP_USER_SIGNET, "a reply that answers nothing (%u)",
               reply->code);
    return DIME_IS_UNREACHABLE;
}

static enum dime_outcome
ask_host(struct finding *f, bool is_valid)
{
    const struct session_question q = {is_valid ? SESSION_VRFY : SESSION_SGNT,
                                       f->a->name,
                                       is_valid ? f->old.core : f->a->fingerprint};
    struct dmtp_reply reply;
    enum session_end end = session_ask(f->a->session, &q, &reply);

    return end == SESSION_ANSWERED ? of_reply(f, &reply) : session_outcome(end);
}

/* One of the ring by its fingerprint, current or not: it was validated once. */
static enum dime_outcome
of_ring(struct finding *f)
{
    struct asking *a = f->a;
    struct store_signet row;

    if (a->store == NULL ||
        store_signet_find(a->store, a->name, a->fingerprint, &row) != KD_OK)
        return DIME_IS_NO_SIGNET;
    enum dime_outcome out =
        answer_with(f, kd_buf_slice(&row.octets), a->now + a->conf->user_lifetime);
    kd_buf_free(&row.octets);
    steps_add(a->steps, STEP_USER_SIGNET, "that fingerprint's, from the ring");
    return out;
}

static enum dime_outcome
by_fingerprint(struct finding *f)
{
    enum dime_outcome out = of_ring(f);

    if (out != DIME_IS_NO_SIGNET)
        return out;
    return may_ask(f->a) ? ask_host(f, false) : DIME_IS_UNREACHABLE;
}

static enum dime_outcome
current(struct finding *f)
{
    struct asking *a = f->a;
    struct dime_signet again;
    struct validate_why why;
    int64_t lifetime = a->conf->user_lifetime;

    pinned_get(a, a->name, DIME_USER, &f->old);
    bool is_valid =
        f->old.is_there && validate_user(kd_buf_slice(&f->old.row.octets), a->name,
                                         a->supplier, f->org, &again, &why) == KD_OK;
    if (is_valid && (a->flags & DIME_QUERY_FRESH) == 0 &&
        freshness_of(f->old.row.confirmed_at, lifetime, a->conf->grace, a->now) ==
            FRESH) {
        steps_add(a->steps, STEP_USER_SIGNET, "from the ring");
        return pinned_use(&f->old, f->octets, f->fresh_until,
                          f->old.row.confirmed_at + lifetime);
    }
    enum dime_outcome out = may_ask(a) ? ask_host(f, is_valid) : DIME_IS_UNREACHABLE;
    if (is_valid && (out == DIME_IS_UNREACHABLE || out == DIME_IS_NO_TIME))
        out = pinned_serves(a, &f->old, lifetime, out, f->octets, f->fresh_until);
    return out;
}

enum dime_outcome
user_find(struct asking *a, const struct dime_signet *org, struct kd_buf *octets,
          int64_t *fresh_until, uint8_t known[DIME_FINGERPRINT_SIZE],
          uint8_t found[DIME_FINGERPRINT_SIZE])
{
    struct finding f = {.a = a,
                        .org = org,
                        .octets = octets,
                        .fresh_until = fresh_until,
                        .known = known,
                        .found = found};
    enum dime_outcome out = a->fingerprint != NULL ? by_fingerprint(&f) : current(&f);

    pinned_free(&f.old);
    return out;
}
