#include "publish.h"

/* d->org stays NULL where there is none yet, or none is shown to whoever asks. */
static int
fetch_signet(struct published *d)
{
    struct keyd_request q = {.op = KEYD_OP_LOOKUP_SIGNET};
    enum dime_reason why;

    q.in.lookup_signet.name = KEYD_STR(d->domain.text);
    enum keyd_status status = session_ask(&d->session, &q, &d->org);
    if (status == KEYD_OK && d->org != NULL &&
        dime_signet_parse_as(DIME_ORG, slice_of(d->org->out.signet.signet), &d->signet,
                             &why) == KD_OK)
        return EX_OK;
    int ending = EX_OK;
    if (status == KEYD_OK) {
        complain("keyd's answer", "no organizational signet");
        ending = EX_PROTOCOL;
    } else if (status != KEYD_NOT_FOUND && status != KEYD_DENIED) {
        ending = session_refused(&d->session, &q, status, d->org);
    }
    keyd_client_answer_free(d->org);
    d->org = NULL;
    return ending;
}

int
published_fetch(struct published *d, const struct options *o)
{
    int status = session_open(&d->session, o);

    if (status == EX_OK)
        status = key_list_fetch(&d->session, d->domain.text, &d->keys);
    return status == EX_OK ? fetch_signet(d) : status;
}

void
published_free(struct published *d)
{
    keyd_client_answer_free(d->org);
    key_list_free(&d->keys);
    session_close(&d->session);
}
