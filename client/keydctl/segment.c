/* keydctl audit export, drop: parts of the log as files, and out of keyd. */
#include "keydctl_walk.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

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

/* The last record to copy, and the first unless the caller named one. */
static int
choose(struct session *s, uint64_t *from, uint64_t *last)
{
    struct keyd_answer *a = NULL;
    struct kd_checkpoint c;
    int status = walk_head(s, &a);

    if (status != EX_OK)
        return status;
    *last = a->out.audit_head.seq;
    if (s->o->from == NULL)
        *from = walk_first(a);
    if (s->o->closed &&
        kd_checkpoint_decode(slice_of(a->out.audit_head.checkpoint), &c) == KD_OK)
        *last = c.seq;
    else if (s->o->closed)
        *last = *from - 1;
    if (*from < walk_first(a)) {
        complain("--from", "that record was exported and dropped");
        status = EX_DATAERR;
    } else if (*from > *last && (*from != 1 || s->o->closed)) {
        complain("--from", s->o->closed ? "no signed checkpoint lies behind it"
                                        : "beyond the last record");
        status = EX_DATAERR;
    }
    keyd_client_answer_free(a);
    return status;
}

/* Copies the log as it is; judging it is verify's. */
static int
export_log(struct session *s, uint64_t from, FILE *f, uint64_t *n)
{
    struct export_writer w;
    const struct sink sink = {export_record, export_checkpoint, &w};
    struct progress p;
    uint64_t last, reached;
    int status = choose(s, &from, &last);

    if (status != EX_OK)
        return status;
    progress_begin(&p, s->o, last + 1 - from);
    if (!export_begin(&w, f))
        status = cannot_write("export");
    if (status == EX_OK)
        status = walk_records(s, from, last, &sink, &p, &reached);
    if (status == EX_OK && reached <= last)
        status = walk_wrong("the log ends before its last record");
    if (status == EX_OK && !export_end(&w))
        status = cannot_write("export");
    progress_end(&p);
    if (status == EX_OK)
        *n = w.n_records;
    return status;
}

/* Under a name of its own, which nobody can have made before, until it is whole and on
 * the disk; and its own name is there too before anybody drops what was exported. */
static int
export_file(struct session *s, uint64_t from, uint64_t *n)
{
    const char *path = s->o->out;
    char *part = NULL;
    int status = EX_OK;

    if (asprintf(&part, "%s.XXXXXX", path) < 0) {
        complain(path, kd_err_text(KD_NOMEM));
        return EX_OSERR;
    }
    int fd = mkostemp(part, O_CLOEXEC); /* mode 0600 */
    FILE *f = fd < 0 ? NULL : fdopen(fd, "wb");
    if (f == NULL) {
        complain(path, strerror(errno));
        if (fd >= 0) {
            close(fd);
            kd_ignore(unlink(part));
        }
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
    else if (!folder_sync(path))
        status = cannot_write(path);
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

/* --- drop ---------------------------------------------------------------------------
 */

/* What the files show: they hold, and these records of them would go. */
struct dropping {
    struct audit_check check;
    struct progress progress;
    uint64_t first, through; /* of what would go */
    uint64_t next;           /* first record that was not hashed yet */
    bool skips, has_checkpoint;
    uint64_t seen; /* the last record of the files before, which may overlap */
    uint8_t hash[KD_SHA256_SIZE];
};

static bool
drop_record(struct dropping *d, struct kd_slice octets)
{
    struct kd_audit_record record;

    if (kd_audit_decode(octets, &record) != KD_OK)
        return false;
    d->skips = record.seq <= d->seen;
    if (d->skips)
        return true;
    progress_step(&d->progress);
    if (audit_check_record(&d->check, octets) != KD_OK)
        return false;
    if (record.seq == d->next && record.seq <= d->through) {
        kd_segment_add(d->hash, octets);
        d->next++;
    }
    return true;
}

static bool
drop_item(struct dropping *d, enum export_type type, struct kd_slice octets)
{
    if (type == EXPORT_RECORD)
        return drop_record(d, octets);
    if (d->skips)
        return true;
    if (audit_check_checkpoint(&d->check, octets) != KD_OK)
        return false;
    d->has_checkpoint |= d->check.covered == d->through;
    return true;
}

static int
drop_read(const char *path, struct dropping *d)
{
    struct export_reader r;
    enum export_type type;
    struct kd_slice octets;
    int fd = open_read(path);
    FILE *f = fd < 0 ? NULL : fdopen(fd, "rb");
    bool good = true;

    if (f == NULL) {
        complain(path, strerror(errno));
        return EX_NOINPUT;
    }
    d->skips = false;
    d->seen = d->check.begun ? d->check.chain.tail.seq : 0;
    kd_err err = export_open(&r, f);
    while (good && err == KD_OK && (err = export_next(&r, &type, &octets)) == KD_OK)
        good = drop_item(d, type, octets);
    kd_ignore(fclose(f)); /* it was read only */
    if (good && err == KD_NOT_FOUND)
        return EX_OK;
    if (err == KD_IO) {
        complain(path, strerror(errno));
        return EX_NOINPUT;
    }
    const char *why = d->check.why != NULL ? d->check.why : "not an audit record";
    complain(path, good ? "not a whole audit export" : why);
    return EX_DATAERR;
}

static int
drop_prepare(struct session *s, struct dropping *d)
{
    struct keyd_answer *a = NULL;
    int status = audit_keys(s, s->o, &d->check);

    if (status == EX_OK)
        status = walk_head(s, &a);
    if (status == EX_OK)
        d->first = d->next = walk_first(a);
    keyd_client_answer_free(a);
    if (status == EX_OK && d->through < d->first) {
        complain("--through", "that record was dropped before");
        status = EX_DATAERR;
    }
    progress_begin(&d->progress, s->o, d->through + 1 - d->first);
    for (size_t i = 0; i < s->o->exported.n && status == EX_OK; i++)
        status = drop_read(s->o->exported.items[i], d);
    progress_end(&d->progress);
    if (status != EX_OK)
        return status;
    if (d->next <= d->through) {
        complain("--exported", "the files do not have all records up to that one");
        return EX_DATAERR;
    }
    if (!d->has_checkpoint) {
        complain("--through", "no signed checkpoint of that record is in the files");
        return EX_DATAERR;
    }
    return EX_OK;
}

int
verb_audit_drop(const struct options *o)
{
    struct dropping d = {0};
    struct keyd_request q = {.op = KEYD_OP_AUDIT_DROP};
    struct keyd_answer *a = NULL;
    struct session s = {0};

    if (o->through == NULL || !number_read(o->through, 1, INT64_MAX, &d.through))
        return usage_error("--through", "the number of a record");
    if (o->exported.n == 0)
        return usage_error("--exported", "a file of audit export");
    int status = session_open(&s, o);
    if (status == EX_OK)
        status = drop_prepare(&s, &d);
    q.in.audit_drop.through_seq = d.through;
    q.in.audit_drop.segment_hash = octets_of(kd_slice(d.hash, sizeof d.hash));
    if (status == EX_OK)
        status = session_call(&s, &q, &a);
    if (status == EX_OK && o->json)
        status = json_done(
            json_pack("{s:I}", "first", (json_int_t)a->out.dropped.first_seq), EX_OK);
    else if (status == EX_OK)
        emit(stdout, "the log begins with record %ju\n",
             (uintmax_t)a->out.dropped.first_seq);
    keyd_client_answer_free(a);
    session_close(&s);
    return status;
}
