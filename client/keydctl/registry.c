/* keydctl registry backup, restore: through keyd. */
#include "keydctl.h"

#include <keyd/base/clock.h>
#include <keyd/job/reasons.h>
#include <keyd/ledger/audit.h>
#include <time.h>
#include <unistd.h>

enum { POLL_MS = 200, TERMINAL_MS = 200, LINE_MS = 2000 };

/* --- backup -------------------------------------------------------------------------
 */

struct watching {
    bool shows, is_terminal, has_shown;
    int64_t told_at;
};

static void
show(struct watching *w, const struct keyd_answer *a)
{
    bool copies = a->out.backup.state == KEYD_BACKUP_COPYING;
    uint64_t total = a->out.backup.pages_total;
    int64_t now = kd_clock_ms();

    if (!w->shows || now - w->told_at < (w->is_terminal ? TERMINAL_MS : LINE_MS))
        return;
    w->told_at = now;
    w->has_shown = true;
    emit(stderr, "%s%s: %s %ju of %ju pages, %ju %%%s", w->is_terminal ? "\r" : "",
         tool_name, copies ? "copied" : "verifying,", (uintmax_t)a->out.backup.pages,
         (uintmax_t)total,
         (uintmax_t)(total == 0 ? 0 : a->out.backup.pages * 100 / total),
         w->is_terminal ? "   " : "\n");
}

static int
tell_backup(const struct options *o, const struct keyd_answer *a)
{
    struct kd_slice hash = slice_of(a->out.backup.record_hash);
    char text[2 * KD_SHA256_SIZE + 1] = "-";

    if (hash.n == KD_SHA256_SIZE)
        hex_write(hash, text);
    if (o->json)
        return json_done(json_pack("{s:s, s:I, s:s, s:I}", "name", o->args[0], "seq",
                                   (json_int_t)a->out.backup.seq, "hash", text, "size",
                                   (json_int_t)a->out.backup.size),
                         EX_OK);
    emit(stdout, "backup   %s\nrecords  %ju\nhash     %s\nsize     %ju\n", o->args[0],
         (uintmax_t)a->out.backup.seq, text, (uintmax_t)a->out.backup.size);
    return EX_OK;
}

static int
backup_failed(const struct keyd_answer *a)
{
    const char *sentence = kd_reason_text(slice_of(a->out.backup.reason));

    complain("backup", sentence != NULL ? sentence : "it failed; keyd's log says more");
    return EX_UNAVAILABLE;
}

/* Asks once; EX_OK and *done false while it goes on. */
static int
ask_backup(struct session *s, struct keyd_request *q, struct watching *w, bool *done)
{
    struct keyd_answer *a = NULL;
    int status = session_call(s, q, &a);

    *done = true;
    if (status != EX_OK)
        return status;
    *done = a->out.backup.state >= KEYD_BACKUP_DONE;
    show(w, a);
    if (*done && w->has_shown && w->is_terminal)
        emit(stderr, "\n");
    if (a->out.backup.state == KEYD_BACKUP_DONE)
        status = tell_backup(s->o, a);
    else if (*done)
        status = backup_failed(a);
    keyd_client_answer_free(a);
    return status;
}

/* Begins it, then asks until it is done. */
static int
backup(struct session *s)
{
    const struct timespec pause = {0, POLL_MS * 1000 * 1000L};
    struct watching w = {.is_terminal = isatty(STDERR_FILENO) == 1};
    struct keyd_request q = {
        .op = KEYD_OP_REGISTRY_BACKUP,
        .in.registry_backup = {.name = KEYD_STR(s->o->args[0]), .poll = false}};
    bool done = false;
    int status = EX_OK;

    w.shows = s->o->progress || w.is_terminal;
    for (;;) {
        status = ask_backup(s, &q, &w, &done);
        if (done)
            return status;
        q.in.registry_backup.poll = true;
        kd_ignore(nanosleep(&pause, NULL)); /* cut short does no harm */
    }
}

int
verb_registry_backup(const struct options *o)
{
    struct session s;
    int status = session_open(&s, o);

    if (status == EX_OK)
        status = backup(&s);
    session_close(&s);
    return status;
}

/* --- restore ------------------------------------------------------------------------
 */

/* What would be accepted, and how; nothing is done. */
static int
show_head(struct session *s)
{
    static const uint8_t none[KD_SHA256_SIZE];
    struct keyd_request q = {.op = KEYD_OP_AUDIT_HEAD};
    struct keyd_answer *a = NULL;
    char hash[2 * KD_SHA256_SIZE + 1], time[TIME_TEXT];
    int status = session_call(s, &q, &a);

    if (status != EX_OK)
        return status;
    struct kd_slice octets = slice_of(a->out.audit_head.record_hash);
    uint64_t seq = a->out.audit_head.seq;
    hex_write(octets.n == KD_SHA256_SIZE ? octets : kd_slice(none, sizeof none), hash);
    if (s->o->json) {
        status = json_done(json_pack("{s:b, s:I, s:s, s:o}", "accepted", false, "seq",
                                     (json_int_t)seq, "hash", hash, "time",
                                     json_time(a->out.audit_head.time_ms)),
                           EX_NEGATIVE);
    } else {
        emit(
            stdout,
            "The registry ends with record %ju of %s.\n"
            "Nothing that was done after it is in it: signets issued since then are\n"
            "unknown to it, and their owners must ask for new ones. To go on with it:\n"
            "\n  keydctl registry restore --seq %ju --hash %s\n",
            (uintmax_t)seq, time_text(a->out.audit_head.time_ms, time), (uintmax_t)seq,
            hash);
        status = EX_NEGATIVE;
    }
    keyd_client_answer_free(a);
    return status;
}

static int
accept_head(struct session *s, uint64_t seq, const uint8_t hash[KD_SHA256_SIZE])
{
    struct keyd_request q = {
        .op = KEYD_OP_REGISTRY_RESTORE,
        .in.registry_restore = {seq, octets_of(kd_slice(hash, KD_SHA256_SIZE))}};
    struct keyd_answer *a = NULL;
    int status = session_call(s, &q, &a);

    if (status == EX_OK && s->o->json)
        status = json_done(json_pack("{s:b, s:I, s:I, s:s}", "accepted", true, "epoch",
                                     (json_int_t)a->out.restored.epoch, "seq",
                                     (json_int_t)a->out.restored.seq, "state",
                                     state_text(a->out.restored.state)),
                           EX_OK);
    else if (status == EX_OK)
        emit(stdout, "accepted in epoch %ju, record %ju; %s\n",
             (uintmax_t)a->out.restored.epoch, (uintmax_t)a->out.restored.seq,
             state_text(a->out.restored.state));
    keyd_client_answer_free(a);
    return status;
}

int
verb_registry_restore(const struct options *o)
{
    uint8_t hash[KD_SHA256_SIZE];
    struct session s;
    uint64_t seq = 0;

    if ((o->seq == NULL) != (o->hash == NULL))
        return usage_error("--seq, --hash", "both or none");
    if (o->seq != NULL && !number_read(o->seq, 0, INT64_MAX, &seq))
        return usage_error("--seq", "the number of a record");
    if (o->hash != NULL && !hex_read(o->hash, hash, sizeof hash))
        return usage_error("--hash", "64 hexadecimal digits");
    int status = session_open(&s, o);
    if (status == EX_OK)
        status = o->seq == NULL ? show_head(&s) : accept_head(&s, seq, hash);
    session_close(&s);
    return status;
}
