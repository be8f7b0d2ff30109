#include "run.h"

void
run_sign_outbound(struct vault *v, struct task *t)
{
    task_finish(v, t, KD_UNSUPPORTED, KD_REASON_NONE);
}

void
run_open_envelope(struct vault *v, struct task *t)
{
    task_finish(v, t, KD_UNSUPPORTED, KD_REASON_NONE);
}

void
run_open_bounce(struct vault *v, struct task *t)
{
    task_finish(v, t, KD_UNSUPPORTED, KD_REASON_NONE);
}

void
run_make_bounce(struct vault *v, struct task *t)
{
    task_finish(v, t, KD_UNSUPPORTED, KD_REASON_NONE);
}

void
run_seal_naked(struct vault *v, struct task *t)
{
    task_finish(v, t, KD_UNSUPPORTED, KD_REASON_NONE);
}
