/* keydctl audit head, tail. */
#include "keydctl_walk.h"

#include <time.h>

enum { TAIL_LINES = 10, FOLLOW_S = 1 };

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
    return json_pack("{s:I, s:I, s:I, s:o, s:o, s:o}", "epoch",
                     (json_int_t)a->out.audit_head.epoch, "seq",
                     (json_int_t)a->out.audit_head.seq, "first",
                     (json_int_t)a->out.audit_head.first_seq, "time",
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
    if (a->out.audit_head.first_seq > 1)
        emit(stdout, "first       %ju; those before it were exported and dropped\n",
             (uintmax_t)a->out.audit_head.first_seq);
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
        status = walk_head(&s, &a);
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
    if (r->about_seq != 0)
        good = json_put(j, "about", json_integer((json_int_t)r->about_seq)) && good;
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
    if (r->about_seq != 0)
        emit(stdout, "  of record %ju", (uintmax_t)r->about_seq);
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
        return walk_wrong("not an audit record");
    if (o->json)
        return json_line(record_to_json(&record));
    print_record(&record);
    return EX_OK;
}

/* The first and the last record. */
static int
ends(struct session *s, uint64_t *first, uint64_t *last)
{
    struct keyd_answer *a = NULL;
    int status = walk_head(s, &a);

    if (status == EX_OK) {
        *first = walk_first(a);
        *last = a->out.audit_head.seq;
    }
    keyd_client_answer_free(a);
    return status;
}

static int
flush(void)
{
    if (fflush(stdout) == 0)
        return EX_OK;
    complain("standard output", "cannot be written");
    return EX_IOERR;
}

/* Prints the last lines; looks again every second if asked to. */
static int
tail(struct session *s, uint64_t lines)
{
    const struct timespec pause = {FOLLOW_S, 0};
    struct options o = *s->o;
    const struct sink sink = {.record = tail_record, .arg = &o};
    struct progress p;
    uint64_t first, last, next;
    int status = ends(s, &first, &last);

    if (status != EX_OK)
        return status;
    next = last > lines ? last - lines + 1 : 1;
    if (next < first)
        next = first;
    progress_begin(&p, s->o, last + 1 - next);
    for (;;) {
        status = walk_records(s, next, last, &sink, &p, &next);
        if (status == EX_OK)
            status = flush();
        if (status != EX_OK || !o.follow)
            return status;
        progress_end(&p);
        kd_ignore(nanosleep(&pause, NULL)); /* cut short does no harm */
        if ((status = ends(s, &first, &last)) != EX_OK)
            return status;
        if (next < first)
            next = first; /* dropped meanwhile */
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
