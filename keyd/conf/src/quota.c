#include <keyd/conf/quota.h>

#include <stdio.h>

static const struct unit {
    const char *name;
    uint32_t seconds;
} units[] = {{"s", 1}, {"min", 60}, {"hour", 3600}};
enum { UNITS = sizeof units / sizeof units[0] };

static const struct unit *
unit_of(uint32_t seconds)
{
    for (size_t i = 0; i < UNITS; i++)
        if (units[i].seconds == seconds)
            return &units[i];
    return NULL;
}

/* The next word; empty at the end. A space that stands alone makes an empty word too,
 * which is none of those expected. */
static struct kd_slice
next_word(struct kd_slice *rest)
{
    size_t n = 0;

    while (n < rest->n && rest->p[n] != ' ')
        n++;
    struct kd_slice word = kd_slice(rest->p, n);
    *rest = n < rest->n ? kd_slice(rest->p + n + 1, rest->n - n - 1)
                        : kd_slice(rest->p + n, 0);
    return word;
}

static bool
is_word(struct kd_slice word, const char *text)
{
    return kd_slice_eq(word, kd_slice_str(text));
}

/* 1 to most, without a leading 0. */
static bool
parse_number(struct kd_slice text, uint32_t most, uint32_t *out)
{
    uint64_t n = 0;

    if (text.n == 0 || text.n > 9 || text.p[0] == '0')
        return false;
    for (size_t i = 0; i < text.n; i++) {
        if (text.p[i] < '0' || text.p[i] > '9')
            return false;
        n = n * 10 + (text.p[i] - '0');
    }
    *out = (uint32_t)n;
    return n <= most;
}

static bool
parse_rate(struct kd_slice word, struct kd_rate *out)
{
    size_t slash = 0;

    while (slash < word.n && word.p[slash] != '/')
        slash++;
    if (slash == word.n ||
        !parse_number(kd_slice(word.p, slash), KD_RATE_N_MAX, &out->n))
        return false;
    for (size_t i = 0; i < UNITS; i++)
        if (is_word(kd_slice(word.p + slash + 1, word.n - slash - 1), units[i].name)) {
            out->seconds = units[i].seconds;
            out->burst = out->n < out->seconds ? 1 : out->n / out->seconds;
            return true;
        }
    return false;
}

/* Without the operation; NULL or what is wrong. */
static const char *
parse_limits(struct kd_slice rest, struct kd_quota *q)
{
    struct kd_slice word = next_word(&rest);

    if (word.n != 0 && word.p[0] >= '0' && word.p[0] <= '9') {
        if (!parse_rate(word, &q->rate))
            return "a rate is 1 to 1000000 and /s, /min or /hour";
        word = next_word(&rest);
        if (is_word(word, "burst")) {
            if (!parse_number(next_word(&rest), KD_RATE_BURST_MAX, &q->rate.burst))
                return "a burst is 1 to 1000000";
            word = next_word(&rest);
        }
    }
    if (is_word(word, "in-flight")) {
        if (!parse_number(next_word(&rest), KD_QUOTA_IN_FLIGHT_MAX, &q->in_flight))
            return "in-flight is 1 to 65535";
        word = next_word(&rest);
    }
    if (word.n != 0 || rest.n != 0)
        return "after the operation come a rate, \"burst N\" and \"in-flight N\", in "
               "this order";
    if (q->rate.n == 0 && q->in_flight == 0)
        return "there is neither a rate nor \"in-flight N\"";
    return NULL;
}

kd_err
kd_quota_parse(struct kd_slice text, struct kd_quota *out, const char **why)
{
    struct kd_quota q = {0};
    struct kd_slice rest = text, word = next_word(&rest);
    bool every = is_word(word, "*");

    q.op = every ? KD_OP_NONE : (uint8_t)kd_op_find(word);
    if (text.n > KD_QUOTA_LINE_MAX || text.n == 0 || text.p[text.n - 1] == ' ')
        *why = "a line has no space at its end and at most 96 octets";
    else if (!every && q.op == KD_OP_NONE)
        *why = "it starts with an operation (keyd.conf(5)) or *";
    else if (q.op == KD_OP_Hello)
        *why = "Hello is not counted: max-connections is its limit";
    else if ((*why = parse_limits(rest, &q)) == NULL) {
        *out = q;
        return KD_OK;
    }
    return KD_INVALID;
}

const char *
kd_quota_text(const struct kd_quota *q, char out[KD_QUOTA_TEXT])
{
    const struct unit *unit = unit_of(q->rate.seconds);
    const char *name = q->op == KD_OP_NONE ? "*" : kd_op_name(q->op);
    char rate[48] = "", flight[24] = "";

    if (q->rate.n != 0)
        kd_ignore(snprintf(rate, sizeof rate, " %u/%s burst %u", q->rate.n,
                           unit == NULL ? "?" : unit->name, q->rate.burst));
    if (q->in_flight != 0)
        kd_ignore(snprintf(flight, sizeof flight, " in-flight %u", q->in_flight));
    /* It fits: the longest name has 16 letters, the numbers 7. */
    kd_ignore(snprintf(out, KD_QUOTA_TEXT, "%s%s%s", name == NULL ? "?" : name, rate,
                       flight));
    return out;
}

bool
kd_quota_is_valid(const struct kd_quota *q)
{
    const struct kd_rate *r = &q->rate;
    bool no_rate = r->n == 0 && r->seconds == 0 && r->burst == 0;
    bool good_rate = r->n > 0 && r->n <= KD_RATE_N_MAX && unit_of(r->seconds) != NULL &&
                     r->burst > 0 && r->burst <= KD_RATE_BURST_MAX;

    return (q->op == KD_OP_NONE ||
            (kd_op_name(q->op) != NULL && q->op != KD_OP_Hello)) &&
           (no_rate ? q->in_flight != 0 : good_rate) &&
           q->in_flight <= KD_QUOTA_IN_FLIGHT_MAX;
}
