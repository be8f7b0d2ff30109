#include "matrix.h"

#include <stdio.h>

/* Words of the tables, short so that a line is a line. */
enum {
    CELL_OK = KEYD_OK,
    CELL_SEALED = KEYD_SEALED,
    CELL_NONE = KEYD_NOT_FOUND,
    CELL_AWAY = KEYD_UNAVAILABLE,
    CELL_CONFLICT = KEYD_CONFLICT,
    CELL_INVALID = KEYD_INVALID,
    CELL_NEEDED = KEYD_APPROVAL_NEEDED
};

#define CELLS(op, where, of, is, new, sealed, open, degr, overdue, drain, failed,      \
              locked)                                                                  \
    [KD_OP_##op] = {#op,                                                               \
                    where,                                                             \
                    of,                                                                \
                    is,                                                                \
                    {[UNPROVISIONED] = (enum keyd_status)CELL_##new,                   \
                     [SEALED] = (enum keyd_status)CELL_##sealed,                       \
                     [OPERATIONAL] = (enum keyd_status)CELL_##open,                    \
                     [DEGRADED] = (enum keyd_status)CELL_##degr,                       \
                     [OVERDUE] = (enum keyd_status)CELL_##overdue,                     \
                     [DRAINING] = (enum keyd_status)CELL_##drain,                      \
                     [FAILED] = (enum keyd_status)CELL_##failed,                       \
                     [LOCKED] = (enum keyd_status)CELL_##locked}},
const struct cells cells[KD_OP_MAX + 1] = {
#include "matrix_cells.def"
};
#undef CELLS

#define MARKED(op, sealed, open, degr, overdue, failed, locked)                        \
    [KD_OP_##op] = {true,                                                              \
                    {[SEALED] = (enum keyd_status)CELL_##sealed,                       \
                     [OPERATIONAL] = (enum keyd_status)CELL_##open,                    \
                     [DRAINING] = (enum keyd_status)CELL_##open,                       \
                     [DEGRADED] = (enum keyd_status)CELL_##degr,                       \
                     [OVERDUE] = (enum keyd_status)CELL_##overdue,                     \
                     [FAILED] = (enum keyd_status)CELL_##failed,                       \
                     [LOCKED] = (enum keyd_status)CELL_##locked}},
const struct marked marked[KD_OP_MAX + 1] = {
#include "matrix_quorum.def"
};
#undef MARKED

/* An operation of ops.def without cells does not build, nor one that can take a quorum
 * and is not in the other table. */
enum {
#define CELLS(name, ...) HAS_CELLS_##name,
#include "matrix_cells.def"
#undef CELLS
#define KD_OP(number, name, classes, flags) NEEDS_CELLS_##name = HAS_CELLS_##name,
#include <keyd/ops/ops.def>
#undef KD_OP
};
_Static_assert((UINT64_C(0)
#define KD_OP(number, name, classes, flags)                                            \
    | (((flags)&KD_OPF_QUORUM) != 0 ? UINT64_C(1) << (number) : 0)
#include <keyd/ops/ops.def>
#undef KD_OP
                    ) == (UINT64_C(0)
#define MARKED(name, ...) | UINT64_C(1) << KD_OP_##name
#include "matrix_quorum.def"
#undef MARKED
                              ),
               "matrix_quorum.def and KD_OPF_QUORUM differ");

const char *
state_name(enum state state)
{
    static const char *const names[STATES] = {[UNPROVISIONED] = "unprovisioned",
                                              [SEALED] = "sealed",
                                              [OPERATIONAL] = "operational",
                                              [DEGRADED] = "degraded",
                                              [OVERDUE] = "degraded, nothing signed",
                                              [DRAINING] = "draining",
                                              [FAILED] = "failed",
                                              [LOCKED] = "failed and sealed"};

    return names[state];
}

const char *
status_name(unsigned status)
{
    return status == REFUSED     ? "refused at the handshake"
           : status == NO_ANSWER ? "no answer"
           : status == NOT_ASKED ? "not asked"
                                 : keyd_client_status_text((enum keyd_status)status);
}

/* --- who gets which --- */

static bool
is_served(const struct caller *c, const struct cells *row)
{
    char letter = 0;

    for (unsigned k = 0; k < KD_CLASS_COUNT; k++)
        if (strcmp(kd_class_name(k), c->listener) == 0)
            letter = "msita"[k];
    return strchr(row->listeners, letter) != NULL;
}

static bool
is_permitted(const struct caller *c, const struct cells *row)
{
    static const char everybodys[] = " Hello Status PublicKeys UploadPart FetchPart ";
    char word[64];

    if (row->about == DOMAIN && !c->com)
        return false;
    snprintf(word, sizeof word, " %s ", row->name);
    return c->permitted == NULL || strstr(everybodys, word) != NULL ||
           strstr(c->permitted, word) != NULL;
}

unsigned
expected(const struct caller *c, unsigned op, enum state state, bool with_quorum)
{
    const struct cells *row = &cells[op];
    bool on_admin = strcmp(c->listener, "admin") == 0;

    if (c->kind == TURNED_OFF)
        return REFUSED;
    if (c->is_stranger)
        return KEYD_DENIED;
    if (!is_served(c, row))
        return KEYD_UNSUPPORTED;
    if (state == DRAINING && !on_admin)
        return row->in[state];
    if (!is_permitted(c, row))
        return KEYD_DENIED;
    if (with_quorum && on_admin && marked[op].is_marked) {
        enum keyd_status status = marked[op].in[state];
        return status == KEYD_APPROVAL_NEEDED && !c->is_operator ? KEYD_DENIED : status;
    }
    return row->in[state == DRAINING ? OPERATIONAL : state];
}

bool
caller_is_master(const struct caller *c)
{
    return strcmp(c->listener, "admin") == 0 && !c->is_stranger && c->permitted == NULL;
}

bool
is_asked(const struct caller *c, unsigned op, const struct matrix_about *about)
{
    if (cells[op].name == NULL || (cells[op].how == MOVES) != about->moving)
        return false;
    /* An operator has eight requests waiting at most: they share the marked ones. */
    return !about->with_quorum || !marked[op].is_marked || !c->is_operator ||
           op % 2 == c->share;
}
