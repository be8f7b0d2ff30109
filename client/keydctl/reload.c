/* keydctl reload, drain. */
#include "keydctl.h"

#include <keyd/job/reasons.h>

/* --- reload -------------------------------------------------------------------------
 */

static int
tell_reloaded(const struct options *o, const struct keyd_answer *a)
{
    struct kd_slice digest = slice_of(a->out.reload.digest);

    if (o->json) {
        json_t *j = json_object();
        bool good =
            json_put(j, "serial", json_integer((json_int_t)a->out.reload.serial)) &&
            json_put(j, "digest", json_hex(digest)) &&
            json_put(j, "warnings", json_integer((json_int_t)a->out.reload.warnings));
        if (good)
            return json_done(j, EX_OK);
        json_decref(j);
        return json_done(NULL, EX_OK);
    }
    emit(stdout, "serial    %u\ndigest    ", (unsigned)a->out.reload.serial);
    for (size_t i = 0; i < digest.n; i++)
        emit(stdout, "%02x", digest.p[i]);
    emit(stdout, "\nwarnings  %u%s\n", (unsigned)a->out.reload.warnings,
         a->out.reload.warnings == 0 ? "" : ", in the log of keyd");
    return EX_OK;
}

int
verb_reload(const struct options *o)
{
    struct keyd_request q = {.op = KEYD_OP_RELOAD};
    struct keyd_answer *a = NULL;
    struct session s;
    int status = session_open(&s, o);

    if (status == EX_OK) {
        enum keyd_status said = session_ask(&s, &q, &a);
        if (said != KEYD_OK)
            status = session_refused(&s, &q, said, a);
        if (said == KEYD_INVALID)
            emit(stderr,
                 "%s: its log has every problem with its line; so has: "
                 "keydctl policy check FILE (" KEYD_CONF_PATH
                 ", or what dime-keyd was given with -c)\n",
                 tool_name);
    }
    if (status == EX_OK)
        status = tell_reloaded(o, a);
    keyd_client_answer_free(a);
    session_close(&s);
    return status;
}

/* --- drain --------------------------------------------------------------------------
 */

static int
tell_drained(const struct options *o, const struct keyd_answer *a)
{
    const char *state = state_text(a->out.drain.state);
    uint32_t n = a->out.drain.in_flight;
    int status = o->wait && n != 0 ? EX_TEMPFAIL : EX_OK;

    if (o->json)
        return json_done(
            json_pack("{s:s, s:I}", "state", state, "in_flight", (json_int_t)n),
            status);
    emit(stdout, "%s, %u in flight\n", state, (unsigned)n);
    return status;
}

int
verb_drain(const struct options *o)
{
    struct keyd_request q = {.op = KEYD_OP_DRAIN};
    struct keyd_answer *a = NULL;

    if (o->stop && o->cancel)
        return usage_error("--stop, --cancel", "one of the two");
    q.in.drain.wait = o->wait;
    q.in.drain.action = o->stop     ? KEYD_DRAIN_STOP
                        : o->cancel ? KEYD_DRAIN_CANCEL
                                    : KEYD_DRAIN_BEGIN;
    int status = session_once(o, &q, &a);
    if (status == EX_OK)
        status = tell_drained(o, a);
    keyd_client_answer_free(a);
    return status;
}
