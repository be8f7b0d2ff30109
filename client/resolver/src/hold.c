#include "hold.h"

#include <string.h>

static bool
record_has(const struct dime_mrec *record, const uint8_t pok[DIME_ED25519_KEY_SIZE])
{
    for (size_t i = 0; i < record->n_poks; i++)
        if (memcmp(record->poks[i], pok, DIME_ED25519_KEY_SIZE) == 0)
            return true;
    return false;
}

/* A void SOK vouches for nobody (D-034). */
static bool
is_sok(const struct dime_signet *signet, const uint8_t key[DIME_ED25519_KEY_SIZE])
{
    for (size_t i = 0; i < signet->n_soks; i++)
        if (signet->soks[i].authorised &&
            memcmp(signet->soks[i].key, key, DIME_ED25519_KEY_SIZE) == 0)
            return true;
    return false;
}

static void
begin(struct hold *hold, const uint8_t pok[DIME_ED25519_KEY_SIZE], int64_t now)
{
    *hold = (struct hold){.first_seen = now, .last_counted = now, .times = 1};
    memcpy(hold->pok, pok, sizeof hold->pok);
}

static void
see(struct hold *hold, const uint8_t pok[DIME_ED25519_KEY_SIZE], int64_t now)
{
    if (hold->times == 0 || memcmp(hold->pok, pok, sizeof hold->pok) != 0 ||
        now < hold->last_counted) {
        begin(hold, pok, now);
    } else if (now - hold->last_counted >= HOLD_APART) {
        hold->last_counted = now;
        hold->times += hold->times < UINT32_MAX;
    }
}

enum hold_verdict
hold_judge(struct hold *hold, const uint8_t old[DIME_ED25519_KEY_SIZE],
           const struct dime_mrec *record, bool is_secure,
           const struct dime_signet *signet, int64_t now)
{
    if (memcmp(signet->sign_key, old, DIME_ED25519_KEY_SIZE) == 0)
        return HOLD_SAME;
    if (record_has(record, old) || is_sok(signet, old))
        return HOLD_LISTED;
    if (is_secure)
        return HOLD_SECURE;
    see(hold, signet->sign_key, now);
    return hold_left(hold, now) == 0 ? HOLD_OVER : HOLD_HELD;
}

void
hold_contradict(struct hold *hold, int64_t now)
{
    uint8_t pok[DIME_ED25519_KEY_SIZE];
    uint32_t contradicted = hold->contradicted;

    if (hold->times == 0)
        return;
    memcpy(pok, hold->pok, sizeof pok);
    begin(hold, pok, now);
    hold->contradicted = contradicted + (contradicted < UINT32_MAX);
}

int64_t
hold_left(const struct hold *hold, int64_t now)
{
    int64_t left = 0;

    if (hold->times == 0 || now < hold->first_seen)
        return HOLD_SECONDS;
    if (now - hold->first_seen < HOLD_SECONDS)
        left = HOLD_SECONDS - (now - hold->first_seen);
    if (hold->times < HOLD_TIMES) {
        int64_t more = (int64_t)(HOLD_TIMES - hold->times) * HOLD_APART;
        int64_t since = now - hold->last_counted;
        more = since < more ? more - since : 1;
        left = more > left ? more : left;
    }
    return left;
}
