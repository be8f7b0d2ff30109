/* The commands of a DMTP connection and what their replies must be. */
#include "dmtp_link.h"

#include <dime/base64.h>
#include <keyd/base/clock.h>
#include <stdio.h>
#include <string.h>

enum {
    NAME_MAX_OCTETS = 254,
    FP_CHARS = 86,
    FP_TEXT = FP_CHARS + 1,
    LINE_MAX_OCTETS = 512 /* TR-3 */
};

static const struct dmtp_limits few = {64, 16 << 10};
/* Armour is a little more than four thirds of its octets, and each line has a code. */
static const struct dmtp_limits one_signet = {8192, 2 * DMTP_SIGNET_MAX};
static const struct dmtp_limits many_signets = {128 << 10, 2 * DMTP_HISTORY_MAX};

enum verb { SGNT, VRFY, HIST };

struct question {
    enum verb verb;
    const char *name;
    const uint8_t *first, *second; /* fingerprints; NULL: none */
};

static const struct {
    const char *word, *first, *second;
} verbs[] = {
    [SGNT] = {"SGNT", "FINGERPRINT", ""},
    [VRFY] = {"VRFY", "FINGERPRINT", ""},
    [HIST] = {"HIST", "START", "STOP"},
};

/* ---- the command */

/* What would end the line or the brackets, or no name has. */
static bool
is_name(const char *name)
{
    size_t n = strlen(name);

    if (n == 0 || n > NAME_MAX_OCTETS)
        return false;
    for (const char *p = name; *p != '\0'; p++)
        if (*p <= ' ' || *p > '~' || *p == '<' || *p == '>')
            return false;
    return true;
}

static void
put_fingerprint(struct kd_buf *b, const char *argument, const uint8_t *fp)
{
    char text[FP_TEXT];

    if (fp == NULL)
        return;
    dime_base64_write(kd_slice(fp, DIME_FINGERPRINT_SIZE), text);
    if (argument != NULL)
        kd_buf_printf(b, " %s=[%s]", argument, text);
    else
        kd_buf_printf(b, " [%s]", text);
}

/* In the specification's form, or in libdime's. */
static enum dmtp_end
send_question(struct dmtp *d, const struct question *q, bool libdime, int64_t deadline)
{
    struct kd_buf line;

    kd_buf_init(&line, LINE_MAX_OCTETS);
    if (libdime) {
        kd_buf_printf(&line, "%s <%s>", verbs[q->verb].word, q->name);
        put_fingerprint(&line, NULL, q->first);
        put_fingerprint(&line, NULL, q->second);
        kd_buf_printf(&line, "\r\n");
    } else {
        kd_buf_printf(&line, "%s FOR=<%s>", verbs[q->verb].word, q->name);
        put_fingerprint(&line, verbs[q->verb].first, q->first);
        put_fingerprint(&line, verbs[q->verb].second, q->second);
        kd_buf_printf(&line, "\n");
    }
    kd_buf_u8(&line, '\0');
    enum dmtp_end end = line.err == KD_OK
                            ? dmtp_send(d, (const char *)line.p,
                                        dmtp_until(deadline, d->ctx->times.signet))
                            : DMTP_NO_MEMORY;
    kd_buf_free(&line);
    return end;
}

/* A host that knows only libdime's commands finds no sense in ours. */
static bool
tries_libdime(const struct dmtp *d, const struct question *q)
{
    return d->ctx->takes_libdime && (d->reader.code == 500 || d->reader.code == 501) &&
           (q->first != NULL || q->second == NULL);
}

static enum dmtp_end
exchange(struct dmtp *d, const struct question *q, int64_t deadline,
         struct steps *steps)
{
    enum dmtp_end end = DMTP_DONE;
    bool libdime = false;

    if (!is_name(q->name)) {
        steps_warn(steps, STEP_DMTP, "no name that can be asked for");
        return DMTP_GARBAGE;
    }
    for (;;) {
        if ((end = send_question(d, q, libdime, deadline)) == DMTP_DONE)
            end = dmtp_receive(d, verbs[q->verb].word,
                               q->verb == HIST ? many_signets : one_signet,
                               d->ctx->times.signet, deadline, steps);
        if (end != DMTP_DONE || libdime || !tries_libdime(d, q))
            return end;
        libdime = true;
    }
}

/* ---- the reply */

static enum dmtp_end
refused(struct dmtp *d, kd_err err, const char *why, struct steps *steps)
{
    d->is_over = true;
    if (err == KD_NOMEM)
        return DMTP_NO_MEMORY;
    steps_warn(steps, STEP_DMTP, "the reply is not taken: %s", why);
    return DMTP_GARBAGE;
}

static enum dmtp_end
take_signet(struct dmtp *d, const struct question *q, struct steps *steps,
            struct dmtp_reply *out)
{
    const char *why = "";
    bool libdime = d->ctx->takes_libdime;

    d->octets.max = DMTP_SIGNET_MAX;
    kd_err err =
        dmtp_text_signet(dmtp_reader_text(&d->reader), libdime, &d->octets, &why);
    if (err != KD_OK)
        return refused(d, err, why, steps);
    out->signet = kd_buf_slice(&d->octets);
    if (out->signet.n != DIME_FINGERPRINT_SIZE)
        return DMTP_DONE;
    /* "280 UPDATE [fingerprint]" of libdime; no signet is as short */
    out->signet = kd_slice(NULL, 0);
    return q->verb == VRFY && libdime
               ? DMTP_DONE
               : refused(d, KD_MALFORMED, "too short for a signet", steps);
}

static enum dmtp_end
take_links(struct dmtp *d, struct steps *steps, struct dmtp_reply *out)
{
    const char *why = "";

    d->octets.max = DMTP_HISTORY_MAX;
    kd_err err =
        dmtp_text_links(dmtp_reader_text(&d->reader), d->ctx->takes_libdime, &d->octets,
                        d->links, DMTP_LINKS_MAX, &out->n_links, &why);
    if (err != KD_OK)
        return refused(d, err, why, steps);
    out->links = d->links;
    return DMTP_DONE;
}

/* A success is one only if it answers the question (D-162). */
static enum dmtp_end
take_success(struct dmtp *d, const struct question *q, struct steps *steps,
             struct dmtp_reply *out)
{
    unsigned found = q->verb == HIST ? 290 : strchr(q->name, '@') != NULL ? 280 : 270;
    bool may_be_current = q->verb == VRFY || (q->verb == HIST && q->first != NULL);

    if (out->code == found)
        return q->verb == HIST ? take_links(d, steps, out)
                               : take_signet(d, q, steps, out);
    if (out->code == found + 1 && may_be_current) {
        out->is_current = true;
        return DMTP_DONE;
    }
    return refused(d, KD_MALFORMED, "it answers another question", steps);
}

static enum dmtp_end
ask(struct dmtp *d, const struct question *q, int64_t deadline, struct steps *steps,
    struct dmtp_reply *out)
{
    struct dmtp_reply reply = {0};
    enum dmtp_end end = exchange(d, q, deadline, steps);

    if (end != DMTP_DONE)
        return end;
    kd_buf_reset(&d->octets);
    reply.code = d->reader.code;
    switch (dmtp_class_of(reply.code)) {
    case DMTP_TEMPORARY:
    case DMTP_PERMANENT:
        break;
    case DMTP_SUCCESS:
        end = take_success(d, q, steps, &reply);
        break;
    case DMTP_GO_ON:
    case DMTP_STRANGE:
    default:
        end = refused(d, KD_MALFORMED, "its code means nothing here", steps);
    }
    if (end == DMTP_DONE)
        *out = reply;
    return end;
}

enum dmtp_end
dmtp_sgnt(struct dmtp *d, const char *name, const uint8_t *fingerprint,
          int64_t deadline, struct steps *steps, struct dmtp_reply *out)
{
    return ask(d, &(struct question){SGNT, name, fingerprint, NULL}, deadline, steps,
               out);
}

enum dmtp_end
dmtp_vrfy(struct dmtp *d, const char *name, const uint8_t *fingerprint,
          int64_t deadline, struct steps *steps, struct dmtp_reply *out)
{
    return ask(d, &(struct question){VRFY, name, fingerprint, NULL}, deadline, steps,
               out);
}

enum dmtp_end
dmtp_hist(struct dmtp *d, const char *address, const uint8_t *start,
          const uint8_t *stop, int64_t deadline, struct steps *steps,
          struct dmtp_reply *out)
{
    return ask(d, &(struct question){HIST, address, start, stop}, deadline, steps, out);
}

enum dmtp_end
dmtp_noop(struct dmtp *d, int64_t deadline, struct steps *steps)
{
    int64_t patience = d->ctx->times.command;
    enum dmtp_end end = dmtp_send(d, "NOOP\n", dmtp_until(deadline, patience));

    if (end == DMTP_DONE)
        end = dmtp_receive(d, "NOOP", few, patience, deadline, steps);
    if (end == DMTP_DONE && d->reader.code != 250)
        end = refused(d, KD_MALFORMED, "no 250", steps);
    return end;
}
