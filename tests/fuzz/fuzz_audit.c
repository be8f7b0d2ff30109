/* Records and signed checkpoints of the audit log: what is read is written again octet
 * for octet, so that no record has two hashes. */
#include "fuzz.h"

#include <keyd/ledger/audit.h>

static void
try_record(struct kd_slice in)
{
    struct kd_audit_record r;
    struct kd_buf again;

    if (kd_audit_decode(in, &r) != KD_OK)
        return;
    kd_buf_init(&again, KD_AUDIT_RECORD_MAX);
    fuzz_require(kd_audit_encode(&r, &again) == KD_OK);
    fuzz_require(kd_slice_eq(in, kd_buf_slice(&again)));
    kd_buf_free(&again);
    fuzz_require(in.n <= KD_AUDIT_RECORD_MAX);
    fuzz_require(kd_audit_op_text(r.op)[0] != '\0');
    fuzz_require(kd_audit_op_has_link(r.op) == (r.link_seq != 0));
    fuzz_require(r.address.n == 0 || r.n_digests <= KD_AUDIT_DIGESTS_MAX);

    /* It is the next record of some chain, and then not of the same one again. */
    struct kd_audit_tail tail = {.epoch = r.epoch, .seq = r.seq - 1};
    memcpy(tail.instance, r.instance, sizeof tail.instance);
    memcpy(tail.hash, r.prev, sizeof tail.hash);
    struct kd_chain chain = kd_chain_after(&tail);
    fuzz_require(kd_chain_feed(&chain, in, NULL) == KD_OK);
    fuzz_require(kd_chain_feed(&chain, in, NULL) == KD_INVALID);
}

static void
try_checkpoint(struct kd_slice in)
{
    struct kd_checkpoint cp;
    struct kd_buf again;

    if (kd_checkpoint_decode(in, &cp) != KD_OK)
        return;
    kd_buf_init(&again, KD_CHECKPOINT_MAX);
    fuzz_require(kd_checkpoint_encode(&cp, &again) == KD_OK);
    fuzz_require(again.n + KD_CHECKPOINT_SIG_SIZE == in.n);
    fuzz_require(memcmp(in.p, again.p, again.n) == 0);
    kd_buf_free(&again);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_begin(size);
    try_record(kd_slice(data, size));
    try_checkpoint(kd_slice(data, size));
    fuzz_end();
    return 0;
}
