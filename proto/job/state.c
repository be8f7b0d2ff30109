#include <keyd/job/state.h>

static const struct {
    const char *word, *text;
} table[KD_STATE_REASONS] = {
#define KD_STATE_REASON(name, word, text) {word, text},
#include <keyd/job/state_reasons.def>
#undef KD_STATE_REASON
};

_Static_assert(KD_STATE_REASONS <= 32, "as many as the protocol takes, and bits");

const char *
kd_state_word(unsigned reason)
{
    return reason < KD_STATE_REASONS ? table[reason].word : NULL;
}

const char *
kd_state_text(struct kd_slice word)
{
    for (unsigned i = 0; i < KD_STATE_REASONS; i++)
        if (kd_slice_eq(word, kd_slice_str(table[i].word)))
            return table[i].text;
    return NULL;
}
