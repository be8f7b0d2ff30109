#include "keydctl_walk.h"

#include <dime/base64.h>
#include <keyd/base/clock.h>
#include <unistd.h>

enum {
    /* A checkpoint has a record of its own, so a page of this many records holds no
     * more checkpoints than the protocol gives with a page. */
    PAGE_RECORDS = 32,
    TERMINAL_MS = 250,
    LINE_MS = 2000,
};

/* --- how far ------------------------------------------------------------------------
 */

void
progress_begin(struct progress *p, const struct options *o, uint64_t total)
{
    int64_t now = kd_clock_ms();

    *p = (struct progress){.is_terminal = isatty(STDERR_FILENO) == 1,
                           .total = total,
                           .begun_at = now,
                           .told_at = now};
    p->shows = o->progress || p->is_terminal;
}

static uint64_t
rate_of(const struct progress *p, int64_t now)
{
    uint64_t ms = (uint64_t)(now - p->begun_at);

    return ms == 0 ? 0 : p->n * 1000 / ms;
}

void
progress_step(struct progress *p)
{
    p->n++;
    if (!p->shows || p->n % PAGE_RECORDS != 0)
        return;
    int64_t now = kd_clock_ms();
    if (now - p->told_at < (p->is_terminal ? TERMINAL_MS : LINE_MS))
        return;
    uint64_t rate = rate_of(p, now);
    uint64_t left = p->total > p->n ? p->total - p->n : 0;
    p->told_at = now;
    p->has_shown = true;
    emit(stderr, "%s%s: %ju of %ju records, %ju %%, %ju/s, %ju s left%s",
         p->is_terminal ? "\r" : "", tool_name, (uintmax_t)p->n, (uintmax_t)p->total,
         (uintmax_t)(p->total == 0 ? 100 : p->n * 100 / p->total), (uintmax_t)rate,
         (uintmax_t)(rate == 0 ? 0 : left / rate), p->is_terminal ? "  " : "\n");
}

void
progress_end(struct progress *p)
{
    int64_t now = kd_clock_ms();

    if (!p->shows || (p->is_terminal && !p->has_shown))
        return;
    p->shows = false;
    emit(stderr, "%s%s: %ju records in %ju.%ju s, %ju/s%s\n",
         p->is_terminal ? "\r" : "", tool_name, (uintmax_t)p->n,
         (uintmax_t)(now - p->begun_at) / 1000,
         (uintmax_t)(now - p->begun_at) % 1000 / 100, (uintmax_t)rate_of(p, now),
         p->is_terminal ? "                    " : "");
}

/* --- the log, page by page ----------------------------------------------------------
 */

int
walk_wrong(const char *text)
{
    complain("keyd's answer", text);
    return EX_PROTOCOL;
}

/* Hands over one page's records up to `to`, each with its checkpoints behind it. */
static int
walk_page(const struct keyd_answer *a, uint64_t *from, uint64_t to,
          const struct sink *sink, struct progress *p)
{
    size_t point = 0;
    int status;

    for (size_t i = 0; i < a->out.audit.n_records && *from <= to; i++, ++*from) {
        const struct keyd_audit_item *r = &a->out.audit.records[i];
        if (r->seq != *from)
            return walk_wrong("a record of another number than asked for");
        if ((status = sink->record(sink->arg, slice_of(r->octets))) != EX_OK)
            return status;
        progress_step(p);
        for (; point < a->out.audit.n_checkpoints &&
               a->out.audit.checkpoints[point].seq <= r->seq;
             point++) {
            struct keyd_octets c = a->out.audit.checkpoints[point].octets;
            if (sink->checkpoint != NULL &&
                (status = sink->checkpoint(sink->arg, slice_of(c))) != EX_OK)
                return status;
        }
    }
    return EX_OK;
}

int
walk_records(struct session *s, uint64_t from, uint64_t to, const struct sink *sink,
             struct progress *p, uint64_t *reached)
{
    int status = EX_OK;

    while (status == EX_OK && from <= to) {
        struct keyd_request q = {.op = KEYD_OP_AUDIT_READ,
                                 .in.audit_read = {from, PAGE_RECORDS}};
        struct keyd_answer *a = NULL;
        uint64_t before = from;
        if ((status = session_call(s, &q, &a)) == EX_OK)
            status = walk_page(a, &from, to, sink, p);
        keyd_client_answer_free(a);
        if (from == before)
            break;
    }
    *reached = from;
    return status;
}

int
walk_head(struct session *s, struct keyd_answer **out)
{
    struct keyd_request q = {.op = KEYD_OP_AUDIT_HEAD};

    return session_call(s, &q, out);
}

uint64_t
walk_first(const struct keyd_answer *head)
{
    uint64_t first = head->out.audit_head.first_seq;

    return first == 0 ? 1 : first;
}

/* --- keys of checkpoints ------------------------------------------------------------
 */

int
audit_keys_from_options(const struct options *o, struct audit_check *c)
{
    for (size_t i = 0; i < o->audit_key.n; i++) {
        if (c->n_keys == AUDIT_KEYS_MAX ||
            dime_base64_read(kd_slice_str(o->audit_key.items[i]), c->keys[c->n_keys++],
                             sizeof c->keys[0]) != KD_OK)
            return usage_error("--audit-key",
                               "43 characters of base64, at most 16 times");
    }
    return EX_OK;
}

static int
keys_from_keyd(struct session *s, struct audit_check *c)
{
    struct key_list keys;
    int status = key_list_fetch(s, NULL, &keys);

    for (size_t i = 0; status == EX_OK && i < keys.n; i++) {
        const struct keyd_key *k = keys.keys[i];
        if (k->role == KEYD_ROLE_AUDIT && k->public_key.n == sizeof c->keys[0] &&
            c->n_keys < AUDIT_KEYS_MAX)
            memcpy(c->keys[c->n_keys++], k->public_key.p, sizeof c->keys[0]);
    }
    if (status == EX_UNAVAILABLE)
        complain("audit key", "not to be had from keyd now: give it with --audit-key");
    key_list_free(&keys);
    return status;
}

int
audit_keys(struct session *s, const struct options *o, struct audit_check *c)
{
    return o->audit_key.n == 0 ? keys_from_keyd(s, c) : audit_keys_from_options(o, c);
}
