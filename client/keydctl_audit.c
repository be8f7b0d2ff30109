/* keydctl audit head, tail, verify, export. */
#include "keydctl.h"
#include "keydctl_log.h"

#include <dime/base64.h>
#include <errno.h>
#include <fcntl.h>
#include <keyd/base/clock.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum {
    /* A checkpoint has a record of its own, so a page of this many records holds no
     * more checkpoints than the protocol gives with a page. */
    PAGE_RECORDS = 32,
    TAIL_LINES = 10,
    PROGRESS_MS = 5000,
    FOLLOW_S = 1,
};

/* --- the log, page by page ----------------------------------------------------------
 */

/* What is done with each record and checkpoint; EX_OK to go on. */
struct sink {
    int (*record)(void *arg, struct kd_slice octets);
    int (*checkpoint)(void *arg, struct kd_slice octets); /* may be NULL */
    void *arg;
};

static int
answer_is_wrong(const char *text)
{
    complain("keyd's answer", text);
    return EX_PROTOCOL;
}

/* Hands over one page's records up to `to`, each with its checkpoints behind it. */
static int
walk_page(const struct keyd_answer *a, uint64_t *from, uint64_t to,
          const struct sink *sink)
{
    size_t point = 0;
    int status;

    for (size_t i = 0; i < a->out.audit.n_records && *from <= to; i++, ++*from) {
        const struct keyd_audit_item *r = &a->out.audit.records[i];
        if (r->seq != *from)
            return answer_is_wrong("a record of another number than asked for");
        if ((status = sink->record(sink->arg, slice_of(r->octets))) != EX_OK)
            return status;
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

/* Records from .. to. *reached is the first that keyd did not have, to + 1 if it had
 * all. */
static int
walk(struct session *s, uint64_t from, uint64_t to, const struct sink *sink,
     uint64_t *reached)
{
    int status = EX_OK;

    while (status == EX_OK && from <= to) {
        struct keyd_request q = {.op = KEYD_OP_AUDIT_READ,
                                 .in.audit_read = {from, PAGE_RECORDS}};
        struct keyd_answer *a = NULL;
        uint64_t before = from;
        if ((status = session_call(s, &q, &a)) == EX_OK)
            status = walk_page(a, &from, to, sink);
        keyd_client_answer_free(a);
        if (from == before)
            break;
    }
    *reached = from;
    return status;
}

static int
head_ask(struct session *s, struct keyd_answer **out)
{
    struct keyd_request q = {.op = KEYD_OP_AUDIT_HEAD};

    return session_call(s, &q, out);
}

/* --- head ---------------------------------------------------------------------------
 */

static json_t *
checkpoint_to_json(const struct keyd_answer *a)
{
    struct kd_checkpoint c;

    if (kd_checkpoint_decode(slice_of(a->out.audit_head.checkpoint), &c) != KD_OK)
        return json_null();
    return json_pack("{s:I, s:I, s:o, s:o, s:o}", "seq", (json_int_t)c.seq, "epoch",
                     (json_int_t)c.epoch, "time", json_time(c.time_ms), "hash",
                     json_hex(kd_slice(c.hash, sizeof c.hash)), "signed",
                     json_base64(slice_of(a->out.audit_head.checkpoint)));
}

static json_t *
head_to_json(const struct keyd_answer *a)
{
    return json_pack("{s:I, s:I, s:o, s:o, s:o}", "epoch",
                     (json_int_t)a->out.audit_head.epoch, "seq",
                     (json_int_t)a->out.audit_head.seq, "time",
                     json_time(a->out.audit_head.time_ms), "hash",
                     json_hex(slice_of(a->out.audit_head.record_hash)), "checkpoint",
                     checkpoint_to_json(a));
}

static void
print_head(const struct keyd_answer *a)
{
    struct kd_slice hash = slice_of(a->out.audit_head.record_hash);
    char text[2 * KD_SHA256_SIZE + 1] = "-", time[TIME_TEXT];
    struct kd_checkpoint c;

    if (hash.n == KD_SHA256_SIZE)
        hex_write(hash, text);
    emit(stdout, "epoch       %ju\nrecords     %ju\nlast        %s\nhash        %s\n",
         (uintmax_t)a->out.audit_head.epoch, (uintmax_t)a->out.audit_head.seq,
         time_text(a->out.audit_head.time_ms, time), text);
    if (kd_checkpoint_decode(slice_of(a->out.audit_head.checkpoint), &c) != KD_OK) {
        emit(stdout, "checkpoint  none\n");
        return;
    }
    emit(stdout, "checkpoint  of record %ju, %s\nsigned      ", (uintmax_t)c.seq,
         time_text(c.time_ms, time));
    print_base64(stdout, slice_of(a->out.audit_head.checkpoint));
    emit(stdout, "\n");
}

int
verb_audit_head(const struct options *o)
{
    struct keyd_answer *a = NULL;
    struct session s;
    int status = session_open(&s, o);

    if (status == EX_OK)
        status = head_ask(&s, &a);
    if (status == EX_OK && o->json)
        status = json_done(head_to_json(a), EX_OK);
    else if (status == EX_OK)
        print_head(a);
    keyd_client_answer_free(a);
    session_close(&s);
    return status;
}

/* --- tail ---------------------------------------------------------------------------
 */

static bool
put_digests(json_t *j, const struct kd_audit_record *r)
{
    json_t *list = json_array();
    bool good = true;

    for (size_t i = 0; i < r->n_digests; i++)
        good = json_array_append_new(
                   list, json_hex(kd_slice(r->digests[i], KD_SHA256_SIZE))) == 0 &&
               good;
    return json_put(j, "digests", list) && good;
}

static bool
put_notes(json_t *j, const struct kd_audit_record *r)
{
    json_t *list = json_array();
    bool good = true;

    for (unsigned bit = 0; bit < 32; bit++)
        if ((r->notes >> bit & 1) != 0 && kd_audit_note_text(bit) != NULL)
            good = json_array_append_new(list, json_string(kd_audit_note_text(bit))) ==
                       0 &&
                   good;
    return json_put(j, "notes", list) && good;
}

/* What only some records have. */
static bool
put_particulars(json_t *j, const struct kd_audit_record *r)
{
    bool good = true;

    if (r->domain.n != 0)
        good = json_put(j, "domain", json_octets(r->domain));
    if (r->has_key)
        good =
            json_put(j, "key", json_hex(kd_slice(r->key_id, sizeof r->key_id))) && good;
    if (r->address.n != 0)
        good = json_put(j, "address", json_octets(r->address)) && good;
    if (r->detail.n != 0)
        good = json_put(j, "detail", json_octets(r->detail)) && good;
    if (r->generation != 0)
        good = json_put(j, "generation", json_integer((json_int_t)r->generation)) &&
               json_put(j, "link_seq", json_integer((json_int_t)r->link_seq)) && good;
    if (r->keystore_generation != 0)
        good = json_put(j, "keystore_generation",
                        json_integer((json_int_t)r->keystore_generation)) &&
               json_put(j, "keystore_sha256",
                        json_hex(kd_slice(r->keystore_sha256, KD_SHA256_SIZE))) &&
               good;
    if (r->has_approval)
        good = json_put(j, "approval",
                        json_hex(kd_slice(r->approval, sizeof r->approval))) &&
               good;
    return put_digests(j, r) && put_notes(j, r) && good;
}

static json_t *
record_to_json(const struct kd_audit_record *r)
{
    json_t *j = json_object();
    bool good =
        json_put(j, "seq", json_integer((json_int_t)r->seq)) &&
        json_put(j, "epoch", json_integer((json_int_t)r->epoch)) &&
        json_put(j, "time", json_time(r->time_ms)) &&
        json_put(j, "op", json_string(kd_audit_op_text(r->op))) &&
        json_put(j, "outcome", json_string(kd_audit_outcome_text(r->outcome))) &&
        json_put(j, "principal", json_octets(r->principal)) &&
        json_put(j, "class", json_string(kd_audit_class_text(r->class))) &&
        put_particulars(j, r);

    if (good)
        return j;
    json_decref(j);
    return NULL;
}

static void
print_record(const struct kd_audit_record *r)
{
    char text[2 * KD_SHA256_SIZE + 1], time[TIME_TEXT];

    emit(stdout, "%8ju  %s  %-22s  %-9s  ", (uintmax_t)r->seq,
         time_text(r->time_ms, time), kd_audit_op_text(r->op),
         kd_audit_outcome_text(r->outcome));
    print_text(stdout, r->principal);
    emit(stdout, "/%s", kd_audit_class_text(r->class));
    if (r->domain.n != 0) {
        emit(stdout, "  ");
        print_text(stdout, r->domain);
    }
    if (r->address.n != 0) {
        emit(stdout, "  ");
        print_text(stdout, r->address);
    }
    if (r->detail.n != 0) {
        emit(stdout, "  ");
        print_text(stdout, r->detail);
    }
    if (r->generation != 0)
        emit(stdout, " %u.%u", (unsigned)r->generation, (unsigned)r->link_seq);
    if (r->has_key) {
        hex_write(kd_slice(r->key_id, sizeof r->key_id), text);
        emit(stdout, "  key %s", text);
    }
    if (r->keystore_generation != 0)
        emit(stdout, "  store %ju", (uintmax_t)r->keystore_generation);
    /* The same on both sides: what was approved, and what was then done. */
    if (r->has_approval || (r->op == KD_AUDIT_APPROVE && r->n_digests == 1)) {
        hex_write(kd_slice(r->has_approval ? r->approval : r->digests[0], 32), text);
        emit(stdout, "  approval %s", text);
    }
    for (unsigned bit = 0; bit < 32; bit++)
        if ((r->notes >> bit & 1) != 0 && kd_audit_note_text(bit) != NULL)
            emit(stdout, "  (%s)", kd_audit_note_text(bit));
    emit(stdout, "\n");
}

static int
tail_record(void *arg, struct kd_slice octets)
{
    const struct options *o = arg;
    struct kd_audit_record record;

    if (kd_audit_decode(octets, &record) != KD_OK)
        return answer_is_wrong("not an audit record");
    if (o->json)
        return json_line(record_to_json(&record));
    print_record(&record);
    return EX_OK;
}

/* The number of the last record. */
static int
last_seq(struct session *s, uint64_t *out)
{
    struct keyd_answer *a = NULL;
    int status = head_ask(s, &a);

    if (status == EX_OK)
        *out = a->out.audit_head.seq;
    keyd_client_answer_free(a);
    return status;
}

/* Prints from `next` to the last; looks again every second if asked to. */
static int
tail(struct session *s, uint64_t lines)
{
    const struct timespec pause = {FOLLOW_S, 0};
    struct options o = *s->o;
    const struct sink sink = {.record = tail_record, .arg = &o};
    uint64_t last, next;
    int status = last_seq(s, &last);

    if (status != EX_OK)
        return status;
    next = last > lines ? last - lines + 1 : 1;
    for (;;) {
        status = walk(s, next, last, &sink, &next);
        if (status == EX_OK && fflush(stdout) != 0) {
            complain("standard output", "cannot be written");
            status = EX_IOERR;
        }
        if (status != EX_OK || !o.follow)
            return status;
        kd_ignore(nanosleep(&pause, NULL)); /* cut short does no harm */
        if ((status = last_seq(s, &last)) != EX_OK)
            return status;
    }
}

int
verb_audit_tail(const struct options *o)
{
    uint64_t lines = TAIL_LINES;
    struct session s = {0};

    if (o->lines != NULL && !number_read(o->lines, 0, UINT64_MAX, &lines))
        return usage_error("-n", "a number");
    int status = session_open(&s, o);
    if (status == EX_OK)
        status = tail(&s, lines);
    session_close(&s);
    return status;
}

/* --- verify -------------------------------------------------------------------------
 */

struct verifying {
    struct audit_check check;
    struct keyd_answer *head; /* what keyd says the log ends with; NULL for a file */
    int64_t told_at;
};

static int
keys_from_options(const struct options *o, struct audit_check *c)
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

/* A checkpoint as audit head shows it. */
static int
take_kept(const struct options *o, struct audit_check *c)
{
    uint8_t octets[KD_CHECKPOINT_SIGNED_MAX];
    size_t chars = o->checkpoint == NULL ? 0 : strlen(o->checkpoint);
    size_t n = chars / 4 * 3 + (chars % 4 != 0 ? chars % 4 - 1 : 0);

    if (o->checkpoint == NULL)
        return EX_OK;
    if (n > sizeof octets ||
        dime_base64_read(kd_slice(o->checkpoint, chars), octets, n) != KD_OK)
        return usage_error("--checkpoint", "base64 as audit head shows it");
    if (audit_check_keep(c, kd_slice(octets, n)) == KD_OK)
        return EX_OK;
    complain("--checkpoint", "not signed by the audit key");
    return EX_DATAERR;
}

/* For logs that take a while. */
static void
tell_progress(struct verifying *v)
{
    int64_t now = kd_clock_ms();

    if (now - v->told_at < PROGRESS_MS)
        return;
    v->told_at = now;
    emit(stderr, "%s: %ju records, the last is %ju\n", tool_name,
         (uintmax_t)v->check.n_records, (uintmax_t)v->check.chain.tail.seq);
}

/* The log can be whole and yet not the one whose head keyd shows. */
static bool
is_head(const struct verifying *v)
{
    const struct kd_audit_tail *tail = &v->check.chain.tail;
    struct kd_slice hash;

    if (v->head == NULL || v->head->out.audit_head.seq != tail->seq)
        return true;
    hash = slice_of(v->head->out.audit_head.record_hash);
    return kd_slice_eq(hash, kd_slice(tail->hash, sizeof tail->hash));
}

static int
verify_record(void *arg, struct kd_slice octets)
{
    struct verifying *v = arg;

    tell_progress(v);
    if (audit_check_record(&v->check, octets) != KD_OK)
        return EX_NEGATIVE;
    if (is_head(v))
        return EX_OK;
    v->check.broken_at = v->check.chain.tail.seq;
    v->check.why = "not the record that keyd shows as the last";
    return EX_NEGATIVE;
}

static int
verify_checkpoint(void *arg, struct kd_slice octets)
{
    struct verifying *v = arg;

    return audit_check_checkpoint(&v->check, octets) == KD_OK ? EX_OK : EX_NEGATIVE;
}

static json_t *
verdict_to_json(const struct audit_check *c)
{
    const struct kd_audit_tail *tail = &c->chain.tail;
    json_t *j = json_pack(
        "{s:b, s:I, s:I, s:I, s:I, s:I, s:I}", "valid", c->why == NULL, "records",
        (json_int_t)c->n_records, "first", (json_int_t)c->first, "last",
        (json_int_t)(c->begun ? tail->seq : 0), "epochs", (json_int_t)c->n_epochs,
        "checkpoints", (json_int_t)c->n_checkpoints, "covered", (json_int_t)c->covered);
    bool good = j != NULL;

    if (good && c->begun)
        good = json_put(j, "instance",
                        json_hex(kd_slice(tail->instance, sizeof tail->instance))) &&
               json_put(j, "hash", json_hex(kd_slice(tail->hash, sizeof tail->hash)));
    if (good && c->why != NULL)
        good = json_put(j, "at", json_integer((json_int_t)c->broken_at)) &&
               json_put(j, "reason", json_string(c->why));
    if (good)
        return j;
    json_decref(j);
    return NULL;
}

static void
print_verdict(const struct audit_check *c)
{
    char hash[2 * KD_SHA256_SIZE + 1];

    hex_write(kd_slice(c->chain.tail.hash, KD_SHA256_SIZE), hash);
    emit(stdout, "%s\n", c->why == NULL ? "whole" : "broken");
    emit(stdout, "records      %ju", (uintmax_t)c->n_records);
    if (c->n_records != 0)
        emit(stdout, ", %ju to %ju", (uintmax_t)c->first, (uintmax_t)c->chain.tail.seq);
    emit(stdout, "\nepochs       %ju\ncheckpoints  %ju", (uintmax_t)c->n_epochs,
         (uintmax_t)c->n_checkpoints);
    if (c->covered != 0)
        emit(stdout, ", the last of record %ju", (uintmax_t)c->covered);
    emit(stdout, "\nlast hash    %s\n", c->begun ? hash : "-");
}

static int
tell_verdict(const struct options *o, const struct audit_check *c)
{
    char place[64];

    if (c->why != NULL) {
        kd_ignore(snprintf(place, sizeof place, "broken at record %ju",
                           (uintmax_t)c->broken_at));
        complain(place, c->why);
    } else if (c->covered == 0 && c->n_records != 0) {
        complain("audit log",
                 "warning: no checkpoint in it; by its hashes alone it could "
                 "have been written anew");
    }
    if (o->json)
        return json_done(verdict_to_json(c), c->why == NULL ? EX_OK : EX_NEGATIVE);
    print_verdict(c);
    return c->why == NULL ? EX_OK : EX_NEGATIVE;
}

static int
walk_to_head(struct session *s, uint64_t from, struct verifying *v)
{
    const struct sink sink = {verify_record, verify_checkpoint, v};
    uint64_t reached, last;
    int status = head_ask(s, &v->head);

    if (status != EX_OK)
        return status;
    last = v->head->out.audit_head.seq;
    if (from > last && from != 1) {
        complain("--from", "beyond the last record");
        return EX_DATAERR;
    }
    status = walk(s, from, last, &sink, &reached);
    if (status == EX_OK && reached <= last) {
        v->check.broken_at = reached;
        v->check.why = "the log ends before the record that keyd shows as the last";
        status = EX_NEGATIVE;
    }
    return status;
}

static int
verify_online(const struct options *o, uint64_t from, struct verifying *v)
{
    struct session s;
    int status = session_open(&s, o);

    if (status == EX_OK && o->audit_key.n == 0)
        status = keys_from_keyd(&s, &v->check);
    if (status == EX_OK)
        status = take_kept(o, &v->check);
    if (status == EX_OK)
        status = walk_to_head(&s, from, v);
    session_close(&s);
    return status;
}

static int
verify_items(struct export_reader *r, struct verifying *v)
{
    enum export_type type;
    struct kd_slice octets;
    kd_err err;
    int status = EX_OK;

    while (status == EX_OK && (err = export_next(r, &type, &octets)) == KD_OK)
        status = type == EXPORT_RECORD ? verify_record(v, octets)
                                       : verify_checkpoint(v, octets);
    if (status != EX_OK || err == KD_NOT_FOUND)
        return status;
    if (err == KD_IO)
        return EX_NOINPUT;
    v->check.broken_at = v->check.begun ? v->check.chain.tail.seq + 1 : 0;
    v->check.why = "the file is cut or not in the format of an export";
    return EX_NEGATIVE;
}

static int
verify_file(const struct options *o, struct verifying *v)
{
    struct export_reader reader;

    if (o->audit_key.n == 0)
        return usage_error("--file",
                           "needs --audit-key: a file cannot vouch for itself");
    int status = take_kept(o, &v->check);
    if (status != EX_OK)
        return status;
    int fd = open_read(o->file);
    FILE *f = fd < 0 ? NULL : fdopen(fd, "rb");
    if (f == NULL) {
        complain(o->file, strerror(errno));
        return EX_NOINPUT;
    }
    status = EX_NEGATIVE;
    kd_err err = export_open(&reader, f);
    if (err == KD_OK)
        status = verify_items(&reader, v);
    else if (err == KD_IO)
        status = EX_NOINPUT;
    else
        v->check.why = "not an audit export";
    if (status == EX_NOINPUT)
        complain(o->file, strerror(errno));
    kd_ignore(fclose(f)); /* it was read only */
    return status;
}

int
verb_audit_verify(const struct options *o)
{
    struct verifying v = {.told_at = kd_clock_ms()};
    uint64_t from = 1;
    int status;

    if (o->from != NULL && o->file != NULL)
        return usage_error("--from, --file", "one of the two");
    if (o->from != NULL && !number_read(o->from, 1, UINT64_MAX, &from))
        return usage_error("--from", "the number of a record");
    if ((status = keys_from_options(o, &v.check)) != EX_OK)
        return status;
    status = o->file != NULL ? verify_file(o, &v) : verify_online(o, from, &v);
    if (status == EX_OK && audit_check_end(&v.check) != KD_OK)
        status = EX_NEGATIVE;
    if (status == EX_OK || status == EX_NEGATIVE)
        status = tell_verdict(o, &v.check);
    keyd_client_answer_free(v.head);
    return status;
}

/* --- export -------------------------------------------------------------------------
 */

static int
cannot_write(const char *path)
{
    complain(path, strerror(errno));
    return EX_IOERR;
}

static int
export_record(void *arg, struct kd_slice octets)
{
    return export_put(arg, EXPORT_RECORD, octets) ? EX_OK : cannot_write("export");
}

static int
export_checkpoint(void *arg, struct kd_slice octets)
{
    return export_put(arg, EXPORT_CHECKPOINT, octets) ? EX_OK : cannot_write("export");
}

/* Copies the log as it is; judging it is verify's. */
static int
export_log(struct session *s, uint64_t from, FILE *f, uint64_t *n)
{
    struct export_writer w;
    const struct sink sink = {export_record, export_checkpoint, &w};
    uint64_t last, reached;
    int status = last_seq(s, &last);

    if (status == EX_OK && from > last && from != 1) {
        complain("--from", "beyond the last record");
        return EX_DATAERR;
    }
    if (status == EX_OK && !export_begin(&w, f))
        status = cannot_write("export");
    if (status == EX_OK)
        status = walk(s, from, last, &sink, &reached);
    if (status == EX_OK && reached <= last)
        status = answer_is_wrong("the log ends before its last record");
    if (status == EX_OK && !export_end(&w))
        status = cannot_write("export");
    if (status == EX_OK)
        *n = w.n_records;
    return status;
}

/* Under another name until it is whole and on the disk. */
static int
export_file(struct session *s, uint64_t from, uint64_t *n)
{
    const char *path = s->o->out;
    char *part = NULL;
    int status = EX_OK;

    if (asprintf(&part, "%s.part", path) < 0) {
        complain(path, kd_err_text(KD_NOMEM));
        return EX_OSERR;
    }
    int fd = open(part, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
    FILE *f = fd < 0 ? NULL : fdopen(fd, "wb");
    if (f == NULL) {
        complain(part, strerror(errno));
        free(part);
        return EX_CANTCREAT;
    }
    status = export_log(s, from, f, n);
    if (status == EX_OK && fsync(fd) != 0)
        status = cannot_write(part);
    if (fclose(f) != 0 && status == EX_OK)
        status = cannot_write(part);
    if (status == EX_OK && rename(part, path) != 0)
        status = cannot_write(path);
    if (status != EX_OK)
        kd_ignore(unlink(part)); /* of no use */
    free(part);
    return status;
}

int
verb_audit_export(const struct options *o)
{
    uint64_t from = 1, n = 0;
    struct session s = {0};

    if (o->out == NULL)
        return usage_error("-o", "is needed");
    if (o->from != NULL && !number_read(o->from, 1, UINT64_MAX, &from))
        return usage_error("--from", "the number of a record");
    int status = session_open(&s, o);
    if (status == EX_OK)
        status = export_file(&s, from, &n);
    if (status == EX_OK && o->json)
        status = json_done(
            json_pack("{s:s, s:I}", "file", o->out, "records", (json_int_t)n), EX_OK);
    else if (status == EX_OK)
        emit(stdout, "%ju records\n", (uintmax_t)n);
    session_close(&s);
    return status;
}
