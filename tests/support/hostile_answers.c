#include "hostile_answers.h"

#include <keyd/base/err.h>
#include <stdio.h>
#include <string.h>

enum { TXT = 16 };

static size_t
give_many(const struct hostile_query *q, uint8_t *out, size_t max)
{
    struct hostile_msg m = hostile_begin(q, 0, out, max);
    char text[32];

    if (!q->tcp) {
        out[2] |= 2; /* truncated */
        return m.n;
    }
    for (int i = 0; i < 33; i++) {
        snprintf(text, sizeof(text), "pok=%d", i);
        hostile_txt(&m, NULL, 60, text);
    }
    return m.n;
}

static size_t
give_truncated(const struct hostile_query *q, uint8_t *out, size_t max)
{
    struct hostile_msg m = hostile_begin(q, 0, out, max);

    out[2] |= 2;
    return q->tcp ? 0 : m.n; /* and nothing comes by TCP */
}

static size_t
give_loop(const struct hostile_query *q, uint8_t *out, size_t max)
{
    struct hostile_msg m = hostile_begin(q, 0, out, max);

    hostile_name(&m, HOSTILE_ANSWER, NULL, 5, 60, "_dime.hostile.example");
    return m.n;
}

/* Each name leads to a new one, for ever. */
static size_t
give_chain(const struct hostile_query *q, uint8_t *out, size_t max)
{
    static _Atomic unsigned turn;
    struct hostile_msg m = hostile_begin(q, 0, out, max);
    char to[64];

    snprintf(to, sizeof(to), "chain%u.hostile.example", turn++);
    hostile_name(&m, HOSTILE_ANSWER, NULL, 5, 60, to);
    return m.n;
}

/* Two that lead to each other. */
static size_t
give_ring(const struct hostile_query *q, uint8_t *out, size_t max)
{
    struct hostile_msg m = hostile_begin(q, 0, out, max);

    bool here = strcmp(q->name, "_dime.hostile.example") == 0;

    hostile_name(&m, HOSTILE_ANSWER, NULL, 5, 60,
                 here ? "chain.hostile.example" : "_dime.hostile.example");
    return m.n;
}

static size_t
give_wrong_id(const struct hostile_query *q, uint8_t *out, size_t max)
{
    struct hostile_msg m = hostile_begin(q, 0, out, max);

    hostile_txt(&m, NULL, 60, "pok=wrong");
    out[0] ^= 0xff;
    return m.n;
}

static size_t
give_wrong_question(const struct hostile_query *q, uint8_t *out, size_t max)
{
    struct hostile_msg m = hostile_begin(q, 0, out, max);

    out[12 + 3] = 'X'; /* of the name's second letter */
    hostile_txt(&m, NULL, 60, "pok=wrong");
    return m.n;
}

static size_t
give_compression_loop(const struct hostile_query *q, uint8_t *out, size_t max)
{
    struct hostile_msg m = hostile_begin(q, 0, out, max);
    uint8_t loop[] = {0xc0, 0, 0, 16, 0, 1, 0, 0, 0, 60, 0, 2, 1, 'x'};

    loop[1] = (uint8_t)m.n;
    out[7] = 1;
    hostile_raw(&m, loop, sizeof(loop));
    return m.n;
}

static size_t
give_short_data(const struct hostile_query *q, uint8_t *out, size_t max)
{
    struct hostile_msg m = hostile_begin(q, 0, out, max);

    hostile_txt(&m, NULL, 60, "pok=cut");
    return m.n - 3;
}

static size_t
give_count_without_records(const struct hostile_query *q, uint8_t *out, size_t max)
{
    struct hostile_msg m = hostile_begin(q, 0, out, max);

    out[7] = 9;
    return m.n;
}

static size_t
give_refused(const struct hostile_query *q, uint8_t *out, size_t max)
{
    return hostile_begin(q, 5, out, max).n;
}

static size_t
give_servfail(const struct hostile_query *q, uint8_t *out, size_t max)
{
    return hostile_begin(q, 2, out, max).n;
}

static size_t
give_notimp(const struct hostile_query *q, uint8_t *out, size_t max)
{
    return hostile_begin(q, 4, out, max).n;
}

size_t
hostile_give_nothing(const struct hostile_query *q, uint8_t *out, size_t max)
{
    (void)q, (void)out, (void)max;
    return 0;
}

static size_t
give_header_alone(const struct hostile_query *q, uint8_t *out, size_t max)
{
    kd_ignore((long)hostile_begin(q, 0, out, max).n);
    return 12;
}

const struct hostile_script hostile_answers[] = {
    {"many", give_many},
    {"truncated", give_truncated},
    {"loop", give_loop},
    {"chain", give_chain},
    {"ring", give_ring},
    {"wrong id", give_wrong_id},
    {"wrong question", give_wrong_question},
    {"compression loop", give_compression_loop},
    {"short data", give_short_data},
    {"count without records", give_count_without_records},
    {"refused", give_refused},
    {"servfail", give_servfail},
    {"notimp", give_notimp},
    {"nothing", hostile_give_nothing},
    {"header alone", give_header_alone},
};
const size_t n_hostile_answers = sizeof hostile_answers / sizeof hostile_answers[0];

size_t
hostile_follow(void *arg, const struct hostile_query *q, uint8_t *out, size_t max)
{
    const struct hostile_script *s = arg;

    if ((strcmp(q->name, "_dime.hostile.example") == 0 ||
         strncmp(q->name, "chain", 5) == 0) &&
        q->type == TXT)
        return s->answer(q, out, max);
    struct hostile_msg m = hostile_begin(q, 0, out, max);

    hostile_soa(&m, "hostile.example", 30);
    return m.n;
}
