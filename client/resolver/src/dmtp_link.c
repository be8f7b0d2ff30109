#include "dmtp_link.h"

#include <keyd/base/clock.h>
#include <openssl/err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct dmtp_limits few = {64, 16 << 10};

int64_t
dmtp_until(int64_t deadline, int64_t patience)
{
    int64_t until = kd_clock_ms() + patience;

    return deadline < until ? deadline : until;
}

/* How it went wrong below. A TLS connection that broke cannot even say goodbye. */
static enum dmtp_end
broken(struct dmtp *d, bool was_clean)
{
    d->is_over = true;
    d->is_broken |= !was_clean;
    ERR_clear_error();
    return d->net.was_late ? DMTP_LATE : DMTP_CLOSED;
}

enum dmtp_end
dmtp_send(struct dmtp *d, const char *line, int64_t deadline)
{
    size_t n = strlen(line), sent = 0;

    if (d->is_broken || d->is_over)
        return DMTP_CLOSED;
    d->net.deadline = deadline;
    d->net.was_late = false;
    ERR_clear_error();
    if (d->tls == NULL ? net_write(&d->net, line, n) == KD_OK
                       : SSL_write_ex(d->tls, line, n, &sent) == 1)
        return DMTP_DONE;
    return broken(d, false);
}

static enum dmtp_end
fill(struct dmtp *d)
{
    bool was_clean = false;

    d->at = d->n = 0;
    ERR_clear_error();
    if (d->tls == NULL) {
        if (net_read(&d->net, d->in, sizeof d->in, &d->n) == KD_OK)
            return DMTP_DONE;
    } else {
        if (SSL_read_ex(d->tls, d->in, sizeof d->in, &d->n) == 1)
            return DMTP_DONE;
        was_clean = SSL_get_error(d->tls, 0) == SSL_ERROR_ZERO_RETURN;
    }
    d->n = 0;
    return broken(d, was_clean);
}

static enum dmtp_end
read_lines(struct dmtp *d, int64_t patience, int64_t deadline)
{
    struct dmtp_reader *r = &d->reader;
    size_t n_lines = 0;

    d->net.deadline = dmtp_until(deadline, patience);
    while (r->state == DMTP_MORE) {
        enum dmtp_end end = d->at == d->n ? fill(d) : DMTP_DONE;
        if (end != DMTP_DONE)
            return end;
        d->at += dmtp_reader_add(r, kd_slice(d->in + d->at, d->n - d->at));
        if (r->n_lines != n_lines) {
            n_lines = r->n_lines;
            d->net.deadline = dmtp_until(deadline, patience);
        }
    }
    return r->state == DMTP_WHOLE    ? DMTP_DONE
           : r->text.err == KD_NOMEM ? DMTP_NO_MEMORY
                                     : DMTP_GARBAGE;
}

enum dmtp_end
dmtp_receive(struct dmtp *d, const char *what, struct dmtp_limits limits,
             int64_t patience, int64_t deadline, struct steps *steps)
{
    char text[DMTP_SHOWN_MAX + 1];

    if (d->is_broken || d->is_over)
        return DMTP_CLOSED;
    d->net.was_late = false;
    dmtp_reader_begin(&d->reader, limits);
    enum dmtp_end end = read_lines(d, patience, deadline);
    if (end == DMTP_GARBAGE)
        steps_warn(steps, STEP_DMTP, "%s: %s", what, d->reader.why);
    else if (end != DMTP_DONE)
        steps_warn(steps, STEP_DMTP, "%s: %s", what, dmtp_end_text(end));
    else {
        dmtp_shown(d, text);
        steps_add(steps, STEP_DMTP, "%s: %u %s", what, d->reader.code, text);
    }
    if (end == DMTP_DONE && d->reader.code == 421)
        end = DMTP_CLOSED;
    d->is_over |= end != DMTP_DONE;
    return end;
}

void
dmtp_shown(const struct dmtp *d, char out[DMTP_SHOWN_MAX + 1])
{
    struct kd_slice text = dmtp_reader_text(&d->reader);
    size_t n = 0;

    while (n < text.n && n < DMTP_SHOWN_MAX && text.p[n] != '\n') {
        out[n] = (char)text.p[n];
        n++;
    }
    out[n] = '\0';
}

/* A banner or a late reply may still stand in front of the one to QUIT. */
void
dmtp_quit(struct dmtp *d, int64_t deadline)
{
    enum { REPLIES = 3 };
    int64_t until = dmtp_until(deadline, d->ctx->times.quit);

    if (dmtp_send(d, "QUIT\n", until) != DMTP_DONE)
        return;
    for (int i = 0; i < REPLIES; i++)
        if (dmtp_receive(d, "QUIT", few, d->ctx->times.quit, until, NULL) !=
                DMTP_DONE ||
            d->reader.code == 221)
            break;
    d->is_over = true;
}

void
dmtp_end_tls(struct dmtp *d, int64_t deadline)
{
    if (d->tls == NULL || d->is_broken)
        return;
    d->net.deadline = deadline;
    ERR_clear_error();
    if (SSL_shutdown(d->tls) == 0)
        kd_ignore(SSL_shutdown(d->tls)); /* ours was sent: what matters is done */
    ERR_clear_error();
    d->is_broken = true;
}

void
dmtp_free(struct dmtp *d)
{
    SSL_free(d->tls);
    net_close(&d->net);
    dmtp_reader_free(&d->reader);
    kd_buf_free(&d->octets);
    free(d);
}
