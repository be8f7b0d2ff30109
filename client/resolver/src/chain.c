#include "chain.h"

void
chain_begin(struct chain *c, const struct dime_signet *known)
{
    *c = (struct chain){.known = known};
}

static bool
has_custody(const struct dime_signet *s)
{
    return dime_signet_signature(s, DIME_USER_CUSTODY) != NULL;
}

/* Where a chain begins. The known link stands for all before it. */
static enum chain_fault
look_at_first(const struct chain *c, const struct dime_signet *link)
{
    struct dime_verdict v;

    if (dime_custody_verify(link, NULL, &v) != KD_OK)
        return CHAIN_SELF;
    if (c->known != NULL)
        return dime_signet_same_link(link, c->known) ? CHAIN_WHOLE : CHAIN_START;
    return has_custody(link) ? CHAIN_ROOT : CHAIN_WHOLE;
}

static enum chain_fault
look_at_next(const struct chain *c, const struct dime_signet *link)
{
    struct dime_verdict v;

    if (dime_custody_verify(link, NULL, &v) != KD_OK)
        return CHAIN_SELF;
    if (dime_signet_same_link(link, &c->prev))
        return CHAIN_AGAIN;
    return dime_custody_verify(link, &c->prev, &v) == KD_OK && v.chained ? CHAIN_WHOLE
                                                                         : CHAIN_GAP;
}

void
chain_add(struct chain *c, struct kd_slice core)
{
    struct dime_signet link;
    enum dime_reason why;

    if (c->fault != CHAIN_WHOLE)
        return;
    if (c->n == CHAIN_LINKS_MAX) {
        c->fault = CHAIN_TOO_LONG;
        return;
    }
    c->n++;
    if (dime_signet_parse_as(DIME_USER, core, &link, &why) != KD_OK)
        c->fault = CHAIN_OCTETS;
    else
        c->fault = c->n == 1 ? look_at_first(c, &link) : look_at_next(c, &link);
    if (c->fault == CHAIN_WHOLE)
        c->prev = link;
}

kd_err
chain_end(struct chain *c, const struct dime_signet *current)
{
    if (c->fault == CHAIN_WHOLE && c->n == 0)
        c->fault = CHAIN_EMPTY;
    if (c->fault == CHAIN_WHOLE && !dime_signet_same_link(&c->prev, current))
        c->fault = CHAIN_END;
    if (c->fault == CHAIN_TOO_LONG)
        return KD_TOO_LARGE;
    return c->fault == CHAIN_WHOLE ? KD_OK : KD_INVALID;
}

const char *
chain_fault_text(enum chain_fault fault)
{
    static const char *const texts[] = {
        [CHAIN_WHOLE] = "no gap",
        [CHAIN_OCTETS] = "a link is no user signet",
        [CHAIN_SELF] = "a link's own signature does not verify",
        [CHAIN_START] = "the first link is not the known one",
        [CHAIN_ROOT] = "the first link is no root",
        [CHAIN_GAP] = "a link was not handed over by the one before",
        [CHAIN_AGAIN] = "a link stands twice",
        [CHAIN_END] = "the last link is not the current signet",
        [CHAIN_EMPTY] = "there are no links",
        [CHAIN_TOO_LONG] = "more links than are looked at",
    };

    return (unsigned)fault < sizeof texts / sizeof *texts ? texts[fault] : "?";
}
