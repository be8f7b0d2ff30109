/* keydctl audit verify: the log that keyd shows, or files of it, or both together. */
#include "keydctl_walk.h"

#include <dime/base64.h>
#include <errno.h>
#include <stdlib.h>

struct verifying {
    struct audit_check check;
    struct keyd_answer *head; /* what keyd says the log ends with; NULL for a file */
    struct progress progress, unseen; /* every record is told of once, in the first */
    bool skips;                       /* records of files that were checked already */
    uint64_t seen;                    /* the last of those */
};

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

    progress_step(&v->progress);
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

/* The last record that nobody showed us; 0 if the log was seen from its first. */
static uint64_t
dropped(const struct audit_check *c)
{
    return c->has_base && c->begun && c->first == c->base.seq + 1 ? c->base.seq : 0;
}

static json_t *
verdict_to_json(const struct audit_check *c)
{
    const struct kd_audit_tail *tail = &c->chain.tail;
    json_t *j = json_pack(
        "{s:b, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "valid", c->why == NULL, "records",
        (json_int_t)c->n_records, "dropped", (json_int_t)dropped(c), "first",
        (json_int_t)c->first, "last", (json_int_t)(c->begun ? tail->seq : 0), "epochs",
        (json_int_t)c->n_epochs, "checkpoints", (json_int_t)c->n_checkpoints, "covered",
        (json_int_t)c->covered);
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
    if (dropped(c) != 0)
        emit(stdout,
             "\ndropped      1 to %ju, under a signed checkpoint: give their export "
             "with "
             "--exported",
             (uintmax_t)dropped(c));
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

/* The part of the log that keyd has, behind what was checked in files. */
static int
walk_to_head(struct session *s, uint64_t from, struct verifying *v)
{
    const struct sink sink = {verify_record, verify_checkpoint, v};
    uint64_t reached, last = v->head->out.audit_head.seq;

    if (v->check.begun)
        from = v->check.chain.tail.seq + 1;
    if (from > last && from != 1 && !v->check.begun) {
        complain("--from", "beyond the last record");
        return EX_DATAERR;
    }
    v->progress.total = v->progress.n + (from > last ? 0 : last + 1 - from);
    int status = walk_records(s, from, last, &sink, &v->unseen, &reached);
    if (status == EX_OK && reached <= last) {
        v->check.broken_at = reached;
        v->check.why = "the log ends before the record that keyd shows as the last";
        status = EX_NEGATIVE;
    }
    return status;
}

/* Where the log begins: at its first record, or where the caller says, or behind the
 * files that go before it. */
static int
begin_at(const struct options *o, struct verifying *v, uint64_t *from)
{
    struct kd_slice base = slice_of(v->head->out.audit_head.base_checkpoint);
    uint64_t first = walk_first(v->head);

    if (v->check.begun && v->check.chain.tail.seq + 1 < first) {
        v->check.broken_at = v->check.chain.tail.seq + 1;
        v->check.why = "records between the exports and the log are missing";
        return EX_NEGATIVE;
    }
    if (first == 1)
        return EX_OK;
    if (audit_check_base(&v->check, base) != KD_OK || v->check.base.seq + 1 != first) {
        v->check.broken_at = first - 1;
        v->check.why =
            "the checkpoint of what was dropped is not signed by the audit key";
        return EX_NEGATIVE;
    }
    if (o->from == NULL) {
        *from = first;
    } else if (*from < first) {
        complain("--from", "that record was exported and dropped");
        return EX_DATAERR;
    }
    return EX_OK;
}

/* Files may overlap: what was seen in one before is passed over, with its
 * checkpoints. */
static int
verify_item(struct verifying *v, enum export_type type, struct kd_slice octets)
{
    struct kd_audit_record record;

    if (type == EXPORT_RECORD)
        v->skips = v->check.begun && kd_audit_decode(octets, &record) == KD_OK &&
                   record.seq <= v->seen;
    if (v->skips && type == EXPORT_RECORD && record.seq < v->check.first) {
        v->check.broken_at = v->check.first;
        v->check.why = "the files are not in the order of their records";
        return EX_NEGATIVE;
    }
    if (v->skips)
        return EX_OK;
    return type == EXPORT_RECORD ? verify_record(v, octets)
                                 : verify_checkpoint(v, octets);
}

static int
verify_items(struct export_reader *r, struct verifying *v)
{
    enum export_type type;
    struct kd_slice octets;
    kd_err err;
    int status = EX_OK;

    while (status == EX_OK && (err = export_next(r, &type, &octets)) == KD_OK)
        status = verify_item(v, type, octets);
    if (status != EX_OK || err == KD_NOT_FOUND)
        return status;
    if (err == KD_IO)
        return EX_NOINPUT;
    v->check.broken_at = v->check.begun ? v->check.chain.tail.seq + 1 : 0;
    v->check.why = "the file is cut or not in the format of an export";
    return EX_NEGATIVE;
}

static int
verify_one_file(const char *path, struct verifying *v)
{
    struct export_reader reader;
    int status = EX_NEGATIVE;
    int fd = open_read(path);
    FILE *f = fd < 0 ? NULL : fdopen(fd, "rb");

    if (f == NULL) {
        complain(path, strerror(errno));
        return EX_NOINPUT;
    }
    v->skips = false;
    v->seen = v->check.begun ? v->check.chain.tail.seq : 0;
    kd_err err = export_open(&reader, f);
    if (err == KD_OK)
        status = verify_items(&reader, v);
    else if (err == KD_IO)
        status = EX_NOINPUT;
    else
        v->check.why = "not an audit export";
    if (status == EX_NOINPUT)
        complain(path, strerror(errno));
    kd_ignore(fclose(f)); /* it was read only */
    return status;
}

static int
verify_file(const struct options *o, struct verifying *v)
{
    if (o->audit_key.n == 0)
        return usage_error("--file",
                           "needs --audit-key: a file cannot vouch for itself");
    int status = audit_keys_from_options(o, &v->check);
    if (status == EX_OK)
        status = take_kept(o, &v->check);
    return status == EX_OK ? verify_one_file(o->file, v) : status;
}

static int
verify_online(const struct options *o, uint64_t from, struct verifying *v)
{
    struct session s;
    int status = session_open(&s, o);

    if (status == EX_OK)
        status = audit_keys(&s, o, &v->check);
    if (status == EX_OK)
        status = take_kept(o, &v->check);
    for (size_t i = 0; i < o->exported.n && status == EX_OK; i++)
        status = verify_one_file(o->exported.items[i], v);
    if (status == EX_OK)
        status = walk_head(&s, &v->head);
    if (status == EX_OK)
        status = begin_at(o, v, &from);
    if (status == EX_OK)
        status = walk_to_head(&s, from, v);
    session_close(&s);
    return status;
}

int
verb_audit_verify(const struct options *o)
{
    struct verifying v = {0};
    uint64_t from = 1;
    int status;

    if ((o->from != NULL) + (o->file != NULL) + (o->exported.n != 0) > 1)
        return usage_error("--from, --file, --exported", "one of the three");
    if (o->from != NULL && !number_read(o->from, 1, UINT64_MAX, &from))
        return usage_error("--from", "the number of a record");
    progress_begin(&v.progress, o, 0);
    status = o->file != NULL ? verify_file(o, &v) : verify_online(o, from, &v);
    progress_end(&v.progress);
    if (status == EX_OK && audit_check_end(&v.check) != KD_OK)
        status = EX_NEGATIVE;
    if (status == EX_OK || status == EX_NEGATIVE)
        status = tell_verdict(o, &v.check);
    keyd_client_answer_free(v.head);
    return status;
}
