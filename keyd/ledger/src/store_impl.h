/* Inside of a store, shared by store.c, store_open.c and keystore_file.c. */
#ifndef KEYD_LEDGER_STORE_IMPL_H
#define KEYD_LEDGER_STORE_IMPL_H

#include <keyd/ledger/backend.h>

struct kd_store {
    const struct kd_store_ops *ops;
    struct kd_backend *backend;
    int dir; /* descriptor of the directory */
    struct kd_chain chain;
    struct kd_audit_tail committed; /* where the chain goes back to on abort */
    struct kd_audit_tail base;      /* the log begins behind it */
    struct kd_audit_tail batch_base;
    uint64_t fence, batch_fence; /* epoch of the last acceptance */
    bool in_batch;
    bool broken;

    uint64_t keystore_generation; /* as committed */
    uint8_t keystore_sha256[KD_SHA256_SIZE];
    uint64_t batch_generation; /* as added to the batch */
    uint8_t batch_sha256[KD_SHA256_SIZE];
    bool set_aside; /* the recorded one, by an operator: there is none */
    bool staged;
    uint8_t staged_sha256[KD_SHA256_SIZE];
    struct kd_buf keystore; /* what keystore_read handed out */
};

/* Writes a reason for the operator and returns err. */
kd_err kd_store_why(char why[KD_STORE_WHY_MAX], kd_err err, const char *fmt, ...)
    KD_PRINTF(3, 4);

/* At open: activates a staged file that the registry names, removes one that it does
 * not, and checks the file in place. */
kd_err kd_keystore_resolve(struct kd_store *s, char why[KD_STORE_WHY_MAX]) KD_MUST_USE;

/* Whether the key store's file has this SHA-256. */
kd_err kd_keystore_in_place(struct kd_store *s, const uint8_t sha256[KD_SHA256_SIZE],
                            bool *is) KD_MUST_USE;
/* What a system call's error means for opening: KD_UNAVAILABLE for what may be better
 * in a moment (a disk that fails or is full, no descriptors, no memory), KD_IO for what
 * an operator has to look at. */
kd_err kd_store_errno(int e);

#endif
