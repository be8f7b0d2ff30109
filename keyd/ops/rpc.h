/* The gate's halves of the operations: from a checked protobuf request to the message
 * for vault or ledger, and from their answer to the response. No half decides anything:
 * who may do what is the vault's (look-ups: the gate's projection of the same policy).
 *
 * protobuf-c messages point to their parts; those of a response live in struct answer
 * until it has been encoded. */
#ifndef KEYD_OPS_RPC_H
#define KEYD_OPS_RPC_H

#include <keyd/conf/quota_table.h>
#include <keyd/job/job.h>
#include <keyd/job/reasons.h>
#include <keyd/ops/ops.h>
#include <keyd/quorum/quorum.h>
#include <keyd/rpc/rpc_pb.h>

enum {
    ANSWER_KEYS_MAX = 40,
    ANSWER_ITEMS_MAX = 64,
    ANSWER_PROCESSES_MAX = 64,
    ANSWER_COUNTERS_MAX = 128,
    ANSWER_APPROVALS_MAX = 32,
    ANSWER_OPERATORS_MAX = 16,
    ANSWER_QUOTAS_MAX = 2 * KD_POLICY_OWN_QUOTAS_MAX,
    ANSWER_REASONS_MAX = 32,
    ANSWER_SHADOW_MAX = 96,
    ANSWER_TOKENS_MAX = 4,
    ANSWER_PLACES_MAX = 2, /* of a key */
};

/* A process as the supervisor reports it. */
struct process_line {
    struct kd_ctl_process is;
    bool present;
};

/* A request that waits, with what its message points to. */
struct answer_approval {
    Keyd__V1__Approval message;
    struct kd_approval_line line;
    ProtobufCBinaryData approved[ANSWER_OPERATORS_MAX];
};

struct answer {
    Keyd__V1__Response r;
    int fd; /* to go with it, -1 if none */
    const struct process_line *processes;
    size_t n_processes;
    const struct kd_quota_shared *quotas; /* how all gates' quotas stand */

    union {
        Keyd__V1__HelloResult hello;
        Keyd__V1__UploadPartResult upload_part;
        Keyd__V1__FetchPartResult fetch_part;
        Keyd__V1__StatusResult status;
        Keyd__V1__PublicKeysResult public_keys;
        Keyd__V1__LookupSignetResult lookup_signet;
        Keyd__V1__LookupHistoryResult lookup_history;
        Keyd__V1__VerifyCurrentResult verify_current;
        Keyd__V1__IssuedSignet issued;
        Keyd__V1__TokenInitResult token_init;
        Keyd__V1__AddUnsealSlotResult add_unseal_slot;
        Keyd__V1__UnsealResult unseal;
        Keyd__V1__SealResult seal;
        Keyd__V1__KeyResult key;
        Keyd__V1__ImportKeyResult import_key;
        Keyd__V1__AuditReadResult audit_read;
        Keyd__V1__AuditHeadResult audit_head;
        Keyd__V1__SetQuorumResult set_quorum;
        Keyd__V1__ApprovalListResult approval_list;
        Keyd__V1__ApprovalShowResult approval_show;
        Keyd__V1__ApprovalSignResult approval_sign;
        Keyd__V1__PolicyExplainResult policy_explain;
        Keyd__V1__RegistryBackupResult registry_backup;
        Keyd__V1__RegistryRestoreResult registry_restore;
        Keyd__V1__AuditDropResult audit_drop;
        Keyd__V1__TokenListResult token_list;
        Keyd__V1__TokenDoctorResult token_doctor;
        Keyd__V1__TokenAdoptResult token_adopt;
        Keyd__V1__ReloadResult reload;
        Keyd__V1__DrainResult drain;
        Keyd__V1__FreezeAddressResult freeze_address;
        Keyd__V1__ResetAddressResult reset_address;
        Keyd__V1__StopPrincipalResult stop_principal;
        Keyd__V1__SignOutboundResult sign_outbound;
        Keyd__V1__OpenEnvelopeResult open_envelope;
        Keyd__V1__OpenBounceResult open_bounce;
        Keyd__V1__MakeBounceResult make_bounce;
        Keyd__V1__SealNakedResult seal_naked;
        Keyd__V1__SignTlsRecordResult sign_tls_record;
    } u;
    Keyd__V1__Key keys[ANSWER_KEYS_MAX];
    Keyd__V1__Key *key_list[ANSWER_KEYS_MAX];
    uint8_t key_ids[ANSWER_KEYS_MAX][16];
    ProtobufCBinaryData key_tokens[ANSWER_KEYS_MAX][ANSWER_PLACES_MAX];
    ProtobufCBinaryData key_objects[ANSWER_KEYS_MAX][ANSWER_PLACES_MAX];
    Keyd__V1__Token token[ANSWER_TOKENS_MAX];
    Keyd__V1__Token *token_list[ANSWER_TOKENS_MAX];
    Keyd__V1__TokenFinding finding[KD_JOB_FINDINGS_MAX];
    Keyd__V1__TokenFinding *finding_list[KD_JOB_FINDINGS_MAX];
    uint8_t fps[3][64];
    Keyd__V1__ProcessInfo process[ANSWER_PROCESSES_MAX];
    Keyd__V1__ProcessInfo *process_list[ANSWER_PROCESSES_MAX];
    Keyd__V1__Counter counter[ANSWER_COUNTERS_MAX];
    Keyd__V1__Counter *counter_list[ANSWER_COUNTERS_MAX];
    Keyd__V1__AuditRecord record[ANSWER_ITEMS_MAX];
    Keyd__V1__AuditRecord *record_list[ANSWER_ITEMS_MAX];
    Keyd__V1__AuditCheckpoint checkpoint[ANSWER_ITEMS_MAX];
    Keyd__V1__AuditCheckpoint *checkpoint_list[ANSWER_ITEMS_MAX];
    ProtobufCBinaryData octets_list[ANSWER_ITEMS_MAX];
    Keyd__V1__PolicyDecision decision[ANSWER_ITEMS_MAX];
    Keyd__V1__PolicyDecision *decision_list[ANSWER_ITEMS_MAX];
    Keyd__V1__PolicyQuota quota[ANSWER_QUOTAS_MAX];
    Keyd__V1__PolicyQuota *quota_list[ANSWER_QUOTAS_MAX];
    char counter_name[ANSWER_COUNTERS_MAX][48];
    char word[KD_REASON_NAME_MAX];
    ProtobufCBinaryData reason_list[ANSWER_REASONS_MAX];
    Keyd__V1__ShadowLine shadow[ANSWER_SHADOW_MAX];
    Keyd__V1__ShadowLine *shadow_list[ANSWER_SHADOW_MAX];
    Keyd__V1__Reset reset[KD_RESETS_PAGE];
    Keyd__V1__Reset *reset_list[KD_RESETS_PAGE];
    Keyd__V1__StoppedPrincipal stopped[KD_STOPPED_MAX];
    Keyd__V1__StoppedPrincipal *stopped_list[KD_STOPPED_MAX];
    uint8_t object_id[16];
    struct answer_approval approval[ANSWER_APPROVALS_MAX];
    Keyd__V1__Approval *approval_list[ANSWER_APPROVALS_MAX];
    struct kd_quorum quorum;
    Keyd__V1__Operator operators[ANSWER_OPERATORS_MAX];
    Keyd__V1__Operator *operator_list[ANSWER_OPERATORS_MAX];
    struct kd_approval_needed waits; /* with KD_APPROVAL */
    uint64_t from; /* of the request, where the answer needs it (AuditRead) */
};

/* What the gate must know of a request besides its body. */
struct ask {
    struct kd_slice domain; /* look-ups: what policy is asked about; borrowed */
    uint64_t from;          /* kept for the answer */
};

struct op_rpc {
    enum kd_op op;
    uint16_t message; /* to the ledger; KD_MSG_NONE: a job for the vault */
    /* Appends the body. tag: for messages to the ledger. */
    kd_err (*pack)(const Keyd__V1__Request *r, uint64_t tag, struct kd_buf *body,
                   struct ask *ask);
    /* Fills a->r and what it points to from the body of a good answer. KD_MALFORMED
     * means that our own process sent nonsense. */
    kd_err (*unpack)(struct kd_slice body, struct answer *a);
};

/* NULL for an operation without one (Hello is the gate's own). */
const struct op_rpc *op_rpc_find(enum kd_op op);

/* The table's parts, by file. */
extern const struct op_rpc op_rpc_issue_user, op_rpc_issue_org;
extern const struct op_rpc op_rpc_lookup_signet, op_rpc_lookup_history,
    op_rpc_verify_current;
extern const struct op_rpc op_rpc_freeze_address, op_rpc_reset_address,
    op_rpc_stop_principal;
extern const struct op_rpc op_rpc_sign_outbound, op_rpc_open_envelope,
    op_rpc_open_bounce, op_rpc_make_bounce, op_rpc_seal_naked;
extern const struct op_rpc op_rpc_status;
extern const struct op_rpc op_rpc_public_keys, op_rpc_generate_key, op_rpc_retire_key,
    op_rpc_import_key;
extern const struct op_rpc op_rpc_token_init, op_rpc_add_unseal_slot, op_rpc_unseal,
    op_rpc_seal;
extern const struct op_rpc op_rpc_audit_read, op_rpc_audit_head;
extern const struct op_rpc op_rpc_set_quorum, op_rpc_approval_list,
    op_rpc_approval_show, op_rpc_approval_sign;
extern const struct op_rpc op_rpc_policy_explain;
extern const struct op_rpc op_rpc_registry_backup, op_rpc_registry_restore,
    op_rpc_audit_drop;
extern const struct op_rpc op_rpc_reload, op_rpc_drain;
extern const struct op_rpc op_rpc_token_list, op_rpc_token_doctor, op_rpc_token_adopt,
    op_rpc_attach_key;
extern const struct op_rpc op_rpc_sign_tls;

/* --- shared by the halves --- */

/* Makes a's response one with this result, which is empty yet: the message in a->u that
 * the protocol has for it. The caller knows its type. */
void *rpc_result(struct answer *a, Keyd__V1__Response__ResultCase result);

/* For operations whose request says nothing. */
kd_err rpc_pack_nothing(const Keyd__V1__Request *r, uint64_t tag, struct kd_buf *body,
                        struct ask *ask) KD_MUST_USE;

/* A profile as a signet field stream (16 to 252 in the order given). KD_INVALID for a
 * field that cannot be laid out. */
kd_err rpc_profile_put(enum kd_op op, Keyd__V1__ProfileField *const *fields, size_t n,
                       struct kd_buf *out) KD_MUST_USE;

/* A signet or bounce of the answer: inline, or the size of what came as a descriptor.
 */
kd_err rpc_signet(struct answer *a, struct kd_slice inl, ProtobufCBinaryData *octets,
                  uint32_t *fd_size) KD_MUST_USE;

/* Reads key lines; at most ANSWER_KEYS_MAX. */
kd_err rpc_keys(struct kd_slice lines, struct answer *a, size_t *n) KD_MUST_USE;

/* A KeyResult from a list of one key. */
kd_err rpc_one_key(struct kd_slice body, struct answer *a,
                   Keyd__V1__Response__ResultCase result) KD_MUST_USE;

#endif
