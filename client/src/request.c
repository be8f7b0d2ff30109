/* From the caller's structures to messages. */
#include "client.h"

#include <keyd/base/memfd.h>
#include <unistd.h>

/* What one request is built with. */
struct maker {
    struct kd_arena *arena;
    Keyd__V1__Request *m;
    int fd;
    enum keyd_status status;
};

static void
fail(struct maker *k, enum keyd_status status)
{
    if (k->status == KEYD_OK)
        k->status = status;
}

static ProtobufCBinaryData
octets(struct maker *k, struct keyd_octets s)
{
    if (s.n != 0 && s.p == NULL)
        fail(k, KEYD_USAGE);
    return kd_rpc_data(kd_slice(s.p, s.p == NULL ? 0 : s.n));
}

/* An array of n pointers or fields; NULL for none. The budget bounds what a caller's
 * number can ask for. */
static void *
take(struct maker *k, size_t n, size_t size)
{
    if (n == 0)
        return NULL;
    void *p = n > KD_RPC_ARENA_MAX / size ? NULL : kd_arena_alloc(k->arena, n * size);
    if (p == NULL)
        fail(k, k->arena->no_memory ? KEYD_NOMEM : KEYD_USAGE);
    else
        memset(p, 0, n * size);
    return p;
}

static Keyd__V1__ProfileField **
profile(struct maker *k, const struct keyd_profile_field *from, size_t n)
{
    Keyd__V1__ProfileField **to = take(k, n, sizeof(Keyd__V1__ProfileField *));
    Keyd__V1__ProfileField *fields = take(k, n, sizeof *fields);

    if (to == NULL || fields == NULL)
        return NULL;
    if (from == NULL) {
        fail(k, KEYD_USAGE);
        return NULL;
    }
    for (size_t i = 0; i < n; i++) {
        keyd__v1__profile_field__init(&fields[i]);
        fields[i].type = from[i].type;
        fields[i].name = octets(k, from[i].name);
        fields[i].value = octets(k, from[i].value);
        to[i] = &fields[i];
    }
    return to;
}

static ProtobufCBinaryData *
octet_list(struct maker *k, const struct keyd_octets *from, size_t n)
{
    ProtobufCBinaryData *to = take(k, n, sizeof *to);

    if (to == NULL)
        return NULL;
    if (from == NULL && n != 0) {
        fail(k, KEYD_USAGE);
        return NULL;
    }
    for (size_t i = 0; i < n; i++)
        to[i] = octets(k, from[i]);
    return to;
}

/* Octets that travel in a descriptor. */
static void
attach(struct maker *k, struct kd_slice s)
{
    if (s.n == 0 || s.p == NULL || s.n > KD_RPC_OBJECT_MAX) {
        fail(k, KEYD_USAGE);
        return;
    }
    if (kd_memfd_seal(s, &k->fd) != KD_OK) {
        fail(k, KEYD_NOMEM);
        return;
    }
    k->m->takes_fd = true;
}

static void
attach_image(struct maker *k, struct keyd_octets image, protobuf_c_boolean *image_fd)
{
    if (image.n == 0)
        return;
    attach(k, kd_slice(image.p, image.n));
    *image_fd = true;
}

/* What travels as a descriptor if it is large: a message, and behind it the signet, if
 * there is one (signet_to is NULL otherwise). size: of the message there. */
static void
put_message(struct maker *k, struct keyd_octets message, struct keyd_octets signet,
            ProtobufCBinaryData *message_to, ProtobufCBinaryData *signet_to,
            uint32_t *size)
{
    if (message.n <= KD_RPC_MESSAGE_INLINE_MAX &&
        signet.n <= KD_RPC_SIGNET_INLINE_MAX) {
        *message_to = octets(k, message);
        if (signet_to != NULL)
            *signet_to = octets(k, signet);
        return;
    }
    if (message.n == 0 || message.p == NULL || message.n > KD_RPC_MESSAGE_MAX ||
        signet.n > KD_RPC_SIGNET_MAX || (signet.p == NULL) != (signet.n == 0)) {
        fail(k, KEYD_USAGE);
        return;
    }
    if (kd_memfd_seal_both(kd_slice(message.p, message.n), kd_slice(signet.p, signet.n),
                           &k->fd) != KD_OK) {
        fail(k, KEYD_NOMEM);
        return;
    }
    k->m->takes_fd = true;
    *size = (uint32_t)message.n;
}

/* The message of an operation, made in the arena and put into the oneof. */
static void *
make(struct maker *k, unsigned oneof_case)
{
    const ProtobufCFieldDescriptor *f = protobuf_c_message_descriptor_get_field(
        &keyd__v1__request__descriptor, oneof_case);
    const ProtobufCMessageDescriptor *type = f->descriptor;
    void *q = take(k, 1, type->sizeof_message);

    if (q == NULL)
        return NULL;
    protobuf_c_message_init(type, q);
    k->m->op_case = (Keyd__V1__Request__OpCase)oneof_case;
    k->m->hello = q; /* the oneof's members share their place */
    return q;
}

static void
make_public_keys(struct maker *k, const struct keyd_request *in, void *message)
{
    Keyd__V1__PublicKeysRequest *q = message;

    q->domain = octets(k, in->in.public_keys.domain);
    q->after_id = octets(k, in->in.public_keys.after_id);
}

static void
make_lookup_signet(struct maker *k, const struct keyd_request *in, void *message)
{
    Keyd__V1__LookupSignetRequest *q = message;

    q->name = octets(k, in->in.lookup_signet.name);
    q->fingerprint = octets(k, in->in.lookup_signet.fingerprint);
}

static void
make_lookup_history(struct maker *k, const struct keyd_request *in, void *message)
{
    Keyd__V1__LookupHistoryRequest *q = message;

    q->address = octets(k, in->in.lookup_history.address);
    q->start_fp = octets(k, in->in.lookup_history.start_fp);
    q->stop_fp = octets(k, in->in.lookup_history.stop_fp);
    q->page = octets(k, in->in.lookup_history.page);
    q->limit = in->in.lookup_history.limit;
}

static void
make_verify_current(struct maker *k, const struct keyd_request *in, void *message)
{
    Keyd__V1__VerifyCurrentRequest *q = message;

    q->name = octets(k, in->in.verify_current.name);
    q->fingerprint = octets(k, in->in.verify_current.fingerprint);
}

static void
make_issue_user_signet(struct maker *k, const struct keyd_request *in, void *message)
{
    Keyd__V1__IssueUserSignetRequest *q = message;

    q->address = octets(k, in->in.issue_user_signet.address);
    q->ssr = octets(k, in->in.issue_user_signet.ssr);
    q->account_mode = (Keyd__V1__AccountMode)in->in.issue_user_signet.account_mode;
    q->n_profile = in->in.issue_user_signet.n_profile;
    q->profile = profile(k, in->in.issue_user_signet.profile, q->n_profile);
    attach_image(k, in->in.issue_user_signet.image, &q->image_fd);
    q->ticket = octets(k, in->in.issue_user_signet.ticket);
}

static void
make_sign_outbound(struct maker *k, const struct keyd_request *in, void *message)
{
    Keyd__V1__SignOutboundRequest *q = message;

    q->account = octets(k, in->in.sign_outbound.account);
    q->destination = octets(k, in->in.sign_outbound.destination);
    q->origin_fp = octets(k, in->in.sign_outbound.origin_fp);
    put_message(k, in->in.sign_outbound.message, KEYD_NONE, &q->message, NULL,
                &q->message_object_size);
}

static Keyd__V1__Inbound *
inbound(struct maker *k, const struct keyd_request *in)
{
    Keyd__V1__Inbound *q = take(k, 1, sizeof *q);

    if (q == NULL)
        return NULL;
    keyd__v1__inbound__init(q);
    q->origin = octets(k, in->in.inbound.origin);
    q->origin_fp = octets(k, in->in.inbound.origin_fp);
    q->domain = octets(k, in->in.inbound.domain);
    q->domain_fp = octets(k, in->in.inbound.domain_fp);
    put_message(k, in->in.inbound.message, in->in.inbound.origin_signet, &q->message,
                &q->origin_signet, &q->message_object_size);
    return q;
}

static void
make_open_envelope(struct maker *k, const struct keyd_request *in, void *message)
{
    Keyd__V1__OpenEnvelopeRequest *q = message;

    q->inbound = inbound(k, in);
}

static void
make_open_bounce(struct maker *k, const struct keyd_request *in, void *message)
{
    Keyd__V1__OpenBounceRequest *q = message;

    q->inbound = inbound(k, in);
}

static void
make_make_bounce(struct maker *k, const struct keyd_request *in, void *message)
{
    Keyd__V1__MakeBounceRequest *q = message;

    q->inbound = inbound(k, in);
    q->part = (Keyd__V1__Returned)in->in.inbound.part;
    q->klass = in->in.inbound.klass;
    q->subject = in->in.inbound.subject;
    q->detail = in->in.inbound.detail;
}

static void
make_seal_naked(struct maker *k, const struct keyd_request *in, void *message)
{
    Keyd__V1__SealNakedRequest *q = message;

    q->recipient = octets(k, in->in.seal_naked.recipient);
    put_message(k, in->in.seal_naked.message, KEYD_NONE, &q->message, NULL,
                &q->message_object_size);
}

static void
make_freeze_address(struct maker *k, const struct keyd_request *in, void *message)
{
    Keyd__V1__FreezeAddressRequest *q = message;

    q->address = octets(k, in->in.freeze_address.address);
    q->action = (Keyd__V1__AccountAction)in->in.freeze_address.action;
    q->reason = (Keyd__V1__FreezeReason)in->in.freeze_address.reason;
}

static void
make_reset_address(struct maker *k, const struct keyd_request *in, void *message)
{
    Keyd__V1__ResetAddressRequest *q = message;

    q->action = (Keyd__V1__ResetAction)in->in.reset_address.action;
    q->address = octets(k, in->in.reset_address.address);
}

static void
make_stop_principal(struct maker *k, const struct keyd_request *in, void *message)
{
    Keyd__V1__StopPrincipalRequest *q = message;

    q->action = (Keyd__V1__StopAction)in->in.stop_principal.action;
    q->class_name = octets(k, in->in.stop_principal.class_name);
    q->name = octets(k, in->in.stop_principal.name);
}

static void
make_slot(struct maker *k, const struct keyd_request *in, void *message)
{
    /* The three have the same shape, each its own type on the wire. */
    if (in->op == KEYD_OP_TOKEN_INIT)
        ((Keyd__V1__TokenInitRequest *)message)->slot_kind =
            (Keyd__V1__SlotKind)in->in.slot.kind;
    else if (in->op == KEYD_OP_ADD_UNSEAL_SLOT)
        ((Keyd__V1__AddUnsealSlotRequest *)message)->slot_kind =
            (Keyd__V1__SlotKind)in->in.slot.kind;
    else
        ((Keyd__V1__UnsealRequest *)message)->slot_kind =
            (Keyd__V1__SlotKind)in->in.slot.kind;
    attach(k, kd_slice(in->in.slot.secret.p, in->in.slot.secret.n));
}

static void
make_generate_key(struct maker *k, const struct keyd_request *in, void *message)
{
    Keyd__V1__GenerateKeyRequest *q = message;

    q->role = (Keyd__V1__KeyRole)in->in.generate_key.role;
    q->algorithm = (Keyd__V1__KeyAlgorithm)in->in.generate_key.algorithm;
    q->domain = octets(k, in->in.generate_key.domain);
    q->permissions = in->in.generate_key.permissions;
    q->n_tokens = in->in.generate_key.n_tokens;
    q->tokens = octet_list(k, in->in.generate_key.tokens, q->n_tokens);
    q->sealed = in->in.generate_key.sealed;
    q->bits = in->in.generate_key.bits;
}

static void
make_retire_key(struct maker *k, const struct keyd_request *in, void *message)
{
    Keyd__V1__RetireKeyRequest *q = message;

    q->id = octets(k, in->in.retire_key.id);
}

static void
make_import_key(struct maker *k, const struct keyd_request *in, void *message)
{
    Keyd__V1__ImportKeyRequest *q = message;

    q->signing_role = (Keyd__V1__KeyRole)in->in.import_key.signing_role;
    q->encryption_key = in->in.import_key.encryption_key;
    q->domain = octets(k, in->in.import_key.domain);
    q->permissions = in->in.import_key.permissions;
    q->n_tokens = in->in.import_key.n_tokens;
    q->tokens = octet_list(k, in->in.import_key.tokens, q->n_tokens);
    q->sealed = in->in.import_key.sealed;
    attach(k, kd_slice(in->in.import_key.key_file.p, in->in.import_key.key_file.n));
}

static void
make_sign_tls_record(struct maker *k, const struct keyd_request *in, void *message)
{
    Keyd__V1__SignTlsRecordRequest *q = message;

    q->domain = octets(k, in->in.sign_tls_record.domain);
    q->pok_id = octets(k, in->in.sign_tls_record.pok_id);
    q->certificate = octets(k, in->in.sign_tls_record.certificate);
}

static void
make_issue_org_signet(struct maker *k, const struct keyd_request *in, void *message)
{
    Keyd__V1__IssueOrgSignetRequest *q = message;

    q->domain = octets(k, in->in.issue_org_signet.domain);
    q->n_profile = in->in.issue_org_signet.n_profile;
    q->profile = profile(k, in->in.issue_org_signet.profile, q->n_profile);
    q->pok_id = octets(k, in->in.issue_org_signet.pok_id);
    q->n_sok_ids = in->in.issue_org_signet.n_sok_ids;
    q->sok_ids = octet_list(k, in->in.issue_org_signet.sok_ids, q->n_sok_ids);
    q->encryption_id = octets(k, in->in.issue_org_signet.encryption_id);
    attach_image(k, in->in.issue_org_signet.image, &q->image_fd);
}

static void
make_audit_read(struct maker *k, const struct keyd_request *in, void *message)
{
    Keyd__V1__AuditReadRequest *q = message;

    (void)k;
    q->from_seq = in->in.audit_read.from_seq;
    q->limit = in->in.audit_read.limit;
}

static Keyd__V1__Operator **
operators(struct maker *k, const struct keyd_operator *from, size_t n)
{
    Keyd__V1__Operator **to = take(k, n, sizeof(Keyd__V1__Operator *));
    Keyd__V1__Operator *all = take(k, n, sizeof *all);

    if (to == NULL || all == NULL)
        return NULL;
    if (from == NULL) {
        fail(k, KEYD_USAGE);
        return NULL;
    }
    for (size_t i = 0; i < n; i++) {
        keyd__v1__operator__init(&all[i]);
        all[i].name = octets(k, from[i].name);
        all[i].public_key = octets(k, from[i].public_key);
        to[i] = &all[i];
    }
    return to;
}

static void
make_set_quorum(struct maker *k, const struct keyd_request *in, void *message)
{
    Keyd__V1__SetQuorumRequest *q = message;

    q->k = in->in.set_quorum.k;
    q->marks = in->in.set_quorum.marks;
    q->n_operators = in->in.set_quorum.n_operators;
    q->operators = operators(k, in->in.set_quorum.operators, q->n_operators);
}

static void
make_approval_show(struct maker *k, const struct keyd_request *in, void *message)
{
    Keyd__V1__ApprovalShowRequest *q = message;

    q->id = octets(k, in->in.approval_show.id);
}

static void
make_approval_sign(struct maker *k, const struct keyd_request *in, void *message)
{
    Keyd__V1__ApprovalSignRequest *q = message;

    q->id = octets(k, in->in.approval_sign.id);
    q->operator_name = octets(k, in->in.approval_sign.operator_name);
    q->signature = octets(k, in->in.approval_sign.signature);
}

static void
make_policy_explain(struct maker *k, const struct keyd_request *in, void *message)
{
    Keyd__V1__PolicyExplainRequest *q = message;

    q->principal = octets(k, in->in.policy_explain.principal);
    q->class_name = octets(k, in->in.policy_explain.class_name);
    q->uid = in->in.policy_explain.uid;
    q->operation = in->in.policy_explain.operation;
    q->domain = octets(k, in->in.policy_explain.domain);
    q->key_id = octets(k, in->in.policy_explain.key_id);
    q->key_role = (Keyd__V1__KeyRole)in->in.policy_explain.key_role;
}

static void
make_registry_backup(struct maker *k, const struct keyd_request *in, void *message)
{
    Keyd__V1__RegistryBackupRequest *q = message;

    q->name = octets(k, in->in.registry_backup.name);
    q->poll = in->in.registry_backup.poll;
}

static void
make_registry_restore(struct maker *k, const struct keyd_request *in, void *message)
{
    Keyd__V1__RegistryRestoreRequest *q = message;

    q->seq = in->in.registry_restore.seq;
    q->record_hash = octets(k, in->in.registry_restore.record_hash);
}

static void
make_audit_drop(struct maker *k, const struct keyd_request *in, void *message)
{
    Keyd__V1__AuditDropRequest *q = message;

    q->through_seq = in->in.audit_drop.through_seq;
    q->segment_hash = octets(k, in->in.audit_drop.segment_hash);
}

static void
make_token_doctor(struct maker *k, const struct keyd_request *in, void *message)
{
    Keyd__V1__TokenDoctorRequest *q = message;

    q->name = octets(k, in->in.token.name);
}

static void
make_token_adopt(struct maker *k, const struct keyd_request *in, void *message)
{
    Keyd__V1__TokenAdoptRequest *q = message;

    q->name = octets(k, in->in.token.name);
    q->serial = octets(k, in->in.token.serial);
}

static void
make_attach_key(struct maker *k, const struct keyd_request *in, void *message)
{
    Keyd__V1__AttachKeyRequest *q = message;

    q->id = octets(k, in->in.attach_key.id);
    q->token = octets(k, in->in.attach_key.token);
}

static void
make_drain(struct maker *k, const struct keyd_request *in, void *message)
{
    Keyd__V1__DrainRequest *q = message;

    (void)k;
    q->action = (Keyd__V1__DrainAction)in->in.drain.action;
    q->wait = in->in.drain.wait;
}

/* Operations without fields have no maker. */
static const struct {
    enum keyd_op op;
    void (*make)(struct maker *k, const struct keyd_request *in, void *message);
} makers[] = {
    {KEYD_OP_STATUS, NULL},
    {KEYD_OP_PUBLIC_KEYS, make_public_keys},
    {KEYD_OP_LOOKUP_SIGNET, make_lookup_signet},
    {KEYD_OP_LOOKUP_HISTORY, make_lookup_history},
    {KEYD_OP_VERIFY_CURRENT, make_verify_current},
    {KEYD_OP_ISSUE_USER_SIGNET, make_issue_user_signet},
    {KEYD_OP_FREEZE_ADDRESS, make_freeze_address},
    {KEYD_OP_RESET_ADDRESS, make_reset_address},
    {KEYD_OP_STOP_PRINCIPAL, make_stop_principal},
    {KEYD_OP_SIGN_OUTBOUND, make_sign_outbound},
    {KEYD_OP_OPEN_ENVELOPE, make_open_envelope},
    {KEYD_OP_OPEN_BOUNCE, make_open_bounce},
    {KEYD_OP_MAKE_BOUNCE, make_make_bounce},
    {KEYD_OP_SEAL_NAKED, make_seal_naked},
    {KEYD_OP_TOKEN_INIT, make_slot},
    {KEYD_OP_ADD_UNSEAL_SLOT, make_slot},
    {KEYD_OP_UNSEAL, make_slot},
    {KEYD_OP_SEAL, NULL},
    {KEYD_OP_GENERATE_KEY, make_generate_key},
    {KEYD_OP_RETIRE_KEY, make_retire_key},
    {KEYD_OP_IMPORT_KEY, make_import_key},
    {KEYD_OP_ISSUE_ORG_SIGNET, make_issue_org_signet},
    {KEYD_OP_AUDIT_READ, make_audit_read},
    {KEYD_OP_AUDIT_HEAD, NULL},
    {KEYD_OP_SET_QUORUM, make_set_quorum},
    {KEYD_OP_APPROVAL_LIST, NULL},
    {KEYD_OP_APPROVAL_SHOW, make_approval_show},
    {KEYD_OP_APPROVAL_SIGN, make_approval_sign},
    {KEYD_OP_POLICY_EXPLAIN, make_policy_explain},
    {KEYD_OP_RELOAD, NULL},
    {KEYD_OP_DRAIN, make_drain},
    {KEYD_OP_REGISTRY_BACKUP, make_registry_backup},
    {KEYD_OP_REGISTRY_RESTORE, make_registry_restore},
    {KEYD_OP_AUDIT_DROP, make_audit_drop},
    {KEYD_OP_TOKEN_LIST, NULL},
    {KEYD_OP_TOKEN_DOCTOR, make_token_doctor},
    {KEYD_OP_TOKEN_ADOPT, make_token_adopt},
    {KEYD_OP_ATTACH_KEY, make_attach_key},
    {KEYD_OP_SIGN_TLS_RECORD, make_sign_tls_record},
};

static void
make_operation(struct maker *k, const struct keyd_request *in)
{
    for (size_t i = 0; i < sizeof makers / sizeof makers[0]; i++) {
        if (makers[i].op != in->op)
            continue;
        void *q = make(k, kd_rpc_case(in->op));
        if (q != NULL && makers[i].make != NULL)
            makers[i].make(k, in, q);
        return;
    }
    fail(k, KEYD_USAGE);
}

bool
request_reads(enum keyd_op op)
{
    switch ((int)op) {
    case KEYD_OP_STATUS:
    case KEYD_OP_PUBLIC_KEYS:
    case KEYD_OP_LOOKUP_SIGNET:
    case KEYD_OP_LOOKUP_HISTORY:
    case KEYD_OP_VERIFY_CURRENT:
    case KEYD_OP_AUDIT_READ:
    case KEYD_OP_AUDIT_HEAD:
    case KEYD_OP_TOKEN_LIST:
    case KEYD_OP_TOKEN_DOCTOR:
    case KEYD_OP_SIGN_OUTBOUND: /* recorded each time, and the same each time */
    case KEYD_OP_OPEN_ENVELOPE:
    case KEYD_OP_OPEN_BOUNCE:
    case KEYD_OP_MAKE_BOUNCE:
    case KEYD_OP_SEAL_NAKED:
        return true;
    default:
        return false;
    }
}

bool
request_is_secret(enum keyd_op op)
{
    switch ((int)op) {
    case KEYD_OP_TOKEN_INIT:
    case KEYD_OP_ADD_UNSEAL_SLOT:
    case KEYD_OP_UNSEAL:
    case KEYD_OP_IMPORT_KEY:
        return true;
    default:
        return false;
    }
}

/* explicit_bzero rather than kd_secret_wipe: programs that link this need no libsodium
 * for it. */
void
request_wipe(const struct keyd_request *in)
{
    struct keyd_secret s = {NULL, 0};

    if (request_is_secret(in->op))
        s = in->op == KEYD_OP_IMPORT_KEY ? in->in.import_key.key_file
                                         : in->in.slot.secret;
    if (s.p != NULL)
        explicit_bzero(s.p, s.n);
}

/* The head is there for the check only; it is made anew for every attempt. */
static void
behead(Keyd__V1__Request *m)
{
    m->id = 0;
    m->idempotency_key = (ProtobufCBinaryData){0};
    m->takes_fd = false;
}

enum keyd_status
request_encode(const struct keyd_request *in, const uint8_t *key,
               struct kd_arena *arena, struct kd_buf *out, int *fd)
{
    Keyd__V1__Request m = KEYD__V1__REQUEST__INIT;
    struct maker k = {.arena = arena, .m = &m, .fd = -1};
    struct kd_rpc_fault fault;

    kd_arena_reset(arena, KD_RPC_ARENA_MAX);
    m.id = 1;
    if (key != NULL)
        m.idempotency_key = kd_rpc_data(kd_slice(key, KEYD_KEY_SIZE));
    make_operation(&k, in);
    if (k.status == KEYD_OK && kd_rpc_check_request(&m, k.fd >= 0, &fault) != KD_OK)
        fail(&k, KEYD_USAGE);
    behead(&m);
    if (k.status == KEYD_OK && kd_rpc_encode(&m.base, out) != KD_OK)
        fail(&k, out->err == KD_TOO_LARGE ? KEYD_USAGE : KEYD_NOMEM);
    if (k.status != KEYD_OK) {
        if (k.fd >= 0)
            close(k.fd);
        return k.status;
    }
    *fd = k.fd;
    return KEYD_OK;
}
