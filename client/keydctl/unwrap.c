/* keydctl unwrap: whom a message is for, as a receiving server finds it out.
 *
 * keyd opens the envelope and judges; here is shown what it says, which is no content
 * and no author. The origin's signet has to be given: keyd knows no other domains. */
#include "keydctl.h"

#include <dime/fingerprint.h>
#include <dime/message.h>
#include <string.h>

/* A message in armour, with room for its line ends and text around it. */
enum { MESSAGE_FILE_MAX = DIME_MESSAGE_MAX / 2 * 3 };

/* Both as read: a large message is not copied again. */
struct unwrap_job {
    struct loaded message;
    struct object origin;
    struct name domain;
    uint8_t origin_fp[DIME_FINGERPRINT_SIZE], domain_fp[DIME_FINGERPRINT_SIZE];
};

/* --- what is asked --- */

/* What a file could not be; EX_OK if it could. */
static int
ending_of(int status, const char *path, const char *why)
{
    if (status == HOLDS)
        return EX_OK;
    if (status == TROUBLE)
        return EX_NOINPUT;
    complain(path, why);
    return EX_DATAERR;
}

static int
message_read(struct unwrap_job *j, const char *path)
{
    const char *why = NULL;
    int status = loaded_read(&j->message, path, MESSAGE_FILE_MAX, &why);

    if (status == HOLDS && j->message.octets.n == 0) {
        status = FAILS;
        why = "empty";
    }
    if (status == HOLDS && j->message.octets.n > DIME_MESSAGE_MAX) {
        status = FAILS;
        why = "too large";
    }
    return ending_of(status, path, why);
}

static int
origin_read(struct unwrap_job *j, const char *path)
{
    const char *why = NULL;
    int status = object_load(&j->origin, path, &why);
    const struct dime_signet *signet = &j->origin.signet;

    if (status == HOLDS &&
        (signet->kind != DIME_ORG || signet->part != DIME_PART_IDENTIFIED)) {
        status = FAILS;
        why = "not an organizational signet with its domain";
    }
    if (status == HOLDS &&
        dime_fingerprint(signet, DIME_PART_FULL, j->origin_fp) != KD_OK) {
        status = FAILS;
        why = "has no fingerprint";
    }
    return ending_of(status, path, why);
}

/* Which of our signets the message was encrypted for: the one that is named, or the
 * current one. */
static int
domain_fp_find(struct session *s, struct unwrap_job *j)
{
    struct keyd_request q = {.op = KEYD_OP_LOOKUP_SIGNET,
                             .in.lookup_signet.name = KEYD_STR(j->domain.text)};
    struct keyd_answer *a = NULL;

    if (s->o->fingerprint != NULL) /* well-formed: it was read before we connected */
        return EX_OK;
    int status = session_call(s, &q, &a);
    if (status == EX_OK && a->out.signet.full_fp.n != sizeof j->domain_fp) {
        complain("keyd's answer", "has no fingerprint");
        status = EX_PROTOCOL;
    }
    if (status == EX_OK)
        memcpy(j->domain_fp, a->out.signet.full_fp.p, sizeof j->domain_fp);
    keyd_client_answer_free(a);
    return status;
}

/* --- what is shown --- */

static const char *const verdicts[] = {[KEYD_ENVELOPE_CURRENT] = "current",
                                       [KEYD_ENVELOPE_STALE] = "stale",
                                       [KEYD_ENVELOPE_UNKNOWN] = "unknown",
                                       [KEYD_ENVELOPE_ELSEWHERE] = "elsewhere"};
static const char *const signatures[] = {[KEYD_BOUNCE_SIGNATURE_NONE] = "none",
                                         [KEYD_BOUNCE_SIGNATURE_GOOD] = "good",
                                         [KEYD_BOUNCE_SIGNATURE_BAD] = "bad"};
enum {
    N_VERDICTS = sizeof verdicts / sizeof *verdicts,
    N_SIGNATURES = sizeof signatures / sizeof *signatures,
};

struct shown {
    bool is_ours; /* for a recipient here, to be taken */
    const char *verdict, *metadata, *display;
    struct kd_slice recipient, fp; /* empty unless is_ours */
};

static bool
shown_of(const struct keyd_answer *a, struct shown *out)
{
    size_t verdict = (size_t)a->out.envelope.verdict;
    size_t metadata = (size_t)a->out.envelope.metadata_bounce;
    size_t display = (size_t)a->out.envelope.display_bounce;

    if (verdict >= N_VERDICTS || verdicts[verdict] == NULL ||
        metadata >= N_SIGNATURES || display >= N_SIGNATURES)
        return false;
    *out = (struct shown){.is_ours = a->out.envelope.verdict == KEYD_ENVELOPE_CURRENT ||
                                     a->out.envelope.verdict == KEYD_ENVELOPE_STALE,
                          .verdict = verdicts[verdict],
                          .metadata = signatures[metadata],
                          .display = signatures[display],
                          .recipient = slice_of(a->out.envelope.recipient),
                          .fp = slice_of(a->out.envelope.recipient_fp)};
    return true;
}

static int
tell_json(const struct unwrap_job *j, const struct shown *x, int status)
{
    return json_done(
        json_pack("{s:b, s:s, s:o, s:s, s:o, s:o, s:s, s:s}", "valid", x->is_ours,
                  "verdict", x->verdict, "origin",
                  json_octets(j->origin.signet.identifier), "domain", j->domain.text,
                  "recipient", x->is_ours ? json_octets(x->recipient) : json_null(),
                  "fingerprint", x->is_ours ? json_base64(x->fp) : json_null(),
                  "metadata_bounce", x->metadata, "display_bounce", x->display),
        status);
}

static int
tell(const struct options *o, const struct unwrap_job *j, const struct keyd_answer *a)
{
    struct shown x;

    if (!shown_of(a, &x)) {
        complain("keyd's answer", "a verdict that is none");
        return EX_PROTOCOL;
    }
    int status = x.is_ours ? EX_OK : EX_NEGATIVE;
    if (o->json)
        return tell_json(j, &x, status);
    emit(stdout, "%-15s  %s\n", "verdict", x.verdict);
    emit(stdout, "%-15s  ", "origin");
    print_text(stdout, j->origin.signet.identifier);
    emit(stdout, "\n");
    if (x.is_ours) {
        emit(stdout, "%-15s  ", "recipient");
        print_text(stdout, x.recipient);
        emit(stdout, "\n%-15s  ", "fingerprint");
        print_base64(stdout, x.fp);
        emit(stdout, "\n");
    }
    emit(stdout, "%-15s  %s\n%-15s  %s\n", "metadata bounce", x.metadata,
         "display bounce", x.display);
    return status;
}

/* --- the verb --- */

static int
ask(const struct options *o, struct unwrap_job *j)
{
    struct keyd_answer *a = NULL;
    struct session s = {0};
    int status = session_open(&s, o);

    if (status == EX_OK && (status = domain_fp_find(&s, j)) == EX_OK) {
        struct keyd_request q = {
            .op = KEYD_OP_OPEN_ENVELOPE,
            .in.inbound = {.origin = octets_of(j->origin.signet.identifier),
                           .origin_fp = {j->origin_fp, sizeof j->origin_fp},
                           .domain = KEYD_STR(j->domain.text),
                           .domain_fp = {j->domain_fp, sizeof j->domain_fp},
                           .origin_signet = octets_of(j->origin.in.octets),
                           .message = octets_of(j->message.octets)}};
        status = session_call(&s, &q, &a);
    }
    if (status == EX_OK)
        status = tell(o, j, a);
    keyd_client_answer_free(a);
    session_close(&s);
    return status;
}

int
verb_unwrap(const struct options *o)
{
    static struct unwrap_job j; /* zero: both files can be freed whatever was read */
    int status;

    if (o->domain == NULL)
        return usage_error("--domain", "is needed");
    if (o->origin == NULL)
        return usage_error("--origin", "is needed");
    if ((status = name_read("--domain", o->domain, NAME_DOMAIN, &j.domain)) != EX_OK)
        return status;
    if (o->fingerprint != NULL &&
        (status = fingerprint_read(o->fingerprint, j.domain_fp)) != EX_OK)
        return status;
    if ((status = origin_read(&j, o->origin)) == EX_OK &&
        (status = message_read(&j, o->args[0])) == EX_OK)
        status = ask(o, &j);
    object_free(&j.origin);
    loaded_free(&j.message);
    return status;
}
