/* What rpc_limits.def cannot say: rules between the fields of one message. */
#include "rpc_check.h"

static kd_err
refuse(struct kd_rpc_fault *fault, enum kd_rpc_reason reason, const ProtobufCMessage *m,
       const char *field)
{
    return kd_rpc_fault(fault, KD_INVALID, reason, m, field);
}

/* Names go to logs: graphic ASCII and spaces. */
static bool
is_printable(ProtobufCBinaryData s)
{
    for (size_t i = 0; i < s.len; i++)
        if (s.data[i] < 0x20 || s.data[i] > 0x7e)
            return false;
    return true;
}

static bool
is_reason_word(ProtobufCBinaryData s)
{
    for (size_t i = 0; i < s.len; i++)
        if (!(s.data[i] >= 'a' && s.data[i] <= 'z') &&
            !(s.data[i] >= '0' && s.data[i] <= '9') && s.data[i] != '-')
            return false;
    return true;
}

static kd_err
check_hello(const Keyd__V1__HelloRequest *m, struct kd_rpc_fault *fault)
{
    if (m->min_version > m->max_version)
        return refuse(fault, KD_RPC_FIELD_VALUE, &m->base, "max_version");
    if (!is_printable(m->client_name))
        return refuse(fault, KD_RPC_FIELD_VALUE, &m->base, "client_name");
    return KD_OK;
}

static kd_err
check_profile(Keyd__V1__ProfileField *const *profile, size_t n,
              struct kd_rpc_fault *fault)
{
    enum { UNDEFINED_FIELD = 251 }; /* the one type that has a name (SG-76) */

    for (size_t i = 0; i < n; i++)
        if ((profile[i]->type == UNDEFINED_FIELD) != (profile[i]->name.len != 0))
            return refuse(fault, KD_RPC_FIELD_VALUE, &profile[i]->base, "name");
    return KD_OK;
}

/* image_fd stands in the operation so that it is part of what is hashed; it must not
 * say otherwise than the frame or the upload. */
static kd_err
check_image(bool image_fd, bool has_object, const ProtobufCMessage *m,
            struct kd_rpc_fault *fault)
{
    return image_fd == has_object ? KD_OK
                                  : refuse(fault, KD_RPC_FD_MISMATCH, m, "image_fd");
}

/* A part is no part of something smaller than itself. */
static kd_err
check_part(const Keyd__V1__UploadPartRequest *m, struct kd_rpc_fault *fault)
{
    if (m->offset >= m->total)
        return refuse(fault, KD_RPC_FIELD_VALUE, &m->base, "offset");
    if (m->data.len > m->total - m->offset)
        return refuse(fault, KD_RPC_FIELD_VALUE, &m->base, "data");
    return KD_OK;
}

/* Where a message is: in the request, or so many octets of the object; a signet is
 * there or behind it. */
static kd_err
check_message(ProtobufCBinaryData message, uint32_t size, bool has_object,
              const ProtobufCMessage *m, struct kd_rpc_fault *fault)
{
    if ((size != 0) != has_object)
        return refuse(fault, KD_RPC_FD_MISMATCH, m, "message_object_size");
    if ((message.len != 0) == has_object)
        return refuse(fault, KD_RPC_FIELD_VALUE, m, "message");
    return KD_OK;
}

static kd_err
check_inbound(const Keyd__V1__Inbound *m, bool has_object, struct kd_rpc_fault *fault)
{
    kd_err err =
        check_message(m->message, m->message_object_size, has_object, &m->base, fault);

    if (err == KD_OK && (m->origin_signet.len != 0) == has_object)
        return refuse(fault, KD_RPC_FIELD_VALUE, &m->base, "origin_signet");
    return err;
}

static kd_err
check_mail(const Keyd__V1__Request *m, bool has_object, struct kd_rpc_fault *fault)
{
    const Keyd__V1__SignOutboundRequest *s = m->sign_outbound;
    const Keyd__V1__SealNakedRequest *n = m->seal_naked;

    switch ((unsigned)m->op_case) {
    case KEYD__V1__REQUEST__OP_SIGN_OUTBOUND:
        return check_message(s->message, s->message_object_size, has_object, &s->base,
                             fault);
    case KEYD__V1__REQUEST__OP_OPEN_ENVELOPE:
        return check_inbound(m->open_envelope->inbound, has_object, fault);
    case KEYD__V1__REQUEST__OP_OPEN_BOUNCE:
        return check_inbound(m->open_bounce->inbound, has_object, fault);
    case KEYD__V1__REQUEST__OP_MAKE_BOUNCE:
        return check_inbound(m->make_bounce->inbound, has_object, fault);
    default:
        return check_message(n->message, n->message_object_size, has_object, &n->base,
                             fault);
    }
}

/* Actions of one operation that need different fields. */
static kd_err
check_account(const Keyd__V1__Request *m, struct kd_rpc_fault *fault)
{
    const Keyd__V1__FreezeAddressRequest *f = m->freeze_address;
    const Keyd__V1__ResetAddressRequest *r = m->reset_address;
    const Keyd__V1__StopPrincipalRequest *s = m->stop_principal;

    switch ((unsigned)m->op_case) {
    case KEYD__V1__REQUEST__OP_FREEZE_ADDRESS:
        if ((f->action == KEYD__V1__ACCOUNT_ACTION__ACCOUNT_ACTION_FREEZE) !=
            (f->reason != KEYD__V1__FREEZE_REASON__FREEZE_REASON_NONE))
            return refuse(fault, KD_RPC_FIELD_VALUE, &f->base, "reason");
        return KD_OK;
    case KEYD__V1__REQUEST__OP_RESET_ADDRESS:
        if (r->action != KEYD__V1__RESET_ACTION__RESET_ACTION_LIST &&
            r->address.len == 0)
            return refuse(fault, KD_RPC_FIELD_MISSING, &r->base, "address");
        return KD_OK;
    default:
        if ((s->action == KEYD__V1__STOP_ACTION__STOP_ACTION_LIST) !=
            (s->name.len == 0))
            return refuse(fault, KD_RPC_FIELD_VALUE, &s->base, "name");
        return KD_OK;
    }
}

static kd_err
check_operation(const Keyd__V1__Request *m, bool has_object, struct kd_rpc_fault *fault)
{
    kd_err err;

    switch ((unsigned)m->op_case) {
    case KEYD__V1__REQUEST__OP_HELLO:
        return check_hello(m->hello, fault);
    case KEYD__V1__REQUEST__OP_UPLOAD_PART:
        return check_part(m->upload_part, fault);
    case KEYD__V1__REQUEST__OP_ISSUE_USER_SIGNET:
        if ((err = check_image(m->issue_user_signet->image_fd, has_object,
                               &m->issue_user_signet->base, fault)) != KD_OK)
            return err;
        return check_profile(m->issue_user_signet->profile,
                             m->issue_user_signet->n_profile, fault);
    case KEYD__V1__REQUEST__OP_ISSUE_ORG_SIGNET:
        if ((err = check_image(m->issue_org_signet->image_fd, has_object,
                               &m->issue_org_signet->base, fault)) != KD_OK)
            return err;
        return check_profile(m->issue_org_signet->profile,
                             m->issue_org_signet->n_profile, fault);
    case KEYD__V1__REQUEST__OP_FREEZE_ADDRESS:
    case KEYD__V1__REQUEST__OP_RESET_ADDRESS:
    case KEYD__V1__REQUEST__OP_STOP_PRINCIPAL:
        return check_account(m, fault);
    case KEYD__V1__REQUEST__OP_SIGN_OUTBOUND:
    case KEYD__V1__REQUEST__OP_OPEN_ENVELOPE:
    case KEYD__V1__REQUEST__OP_OPEN_BOUNCE:
    case KEYD__V1__REQUEST__OP_MAKE_BOUNCE:
    case KEYD__V1__REQUEST__OP_SEAL_NAKED:
        return check_mail(m, has_object, fault);
    case KEYD__V1__REQUEST__OP_IMPORT_KEY:
        if (m->import_key->signing_role == KEYD__V1__KEY_ROLE__KEY_ROLE_NONE &&
            !m->import_key->encryption_key)
            return refuse(fault, KD_RPC_FIELD_MISSING, &m->import_key->base,
                          "signing_role");
        return KD_OK;
    default:
        return KD_OK;
    }
}

static kd_err
check_request_rules(const Keyd__V1__Request *m, bool has_fd, struct kd_rpc_fault *fault)
{
    const struct kd_rpc_op *op = kd_rpc_op((unsigned)m->op_case);
    bool has_object = has_fd || m->upload_id.len != 0;

    if (op == NULL)
        return refuse(fault, KD_RPC_NO_OPERATION, &m->base, NULL);
    if (m->takes_fd != has_fd)
        return refuse(fault, KD_RPC_FD_MISMATCH, &m->base, "takes_fd");
    if (has_fd && m->upload_id.len != 0)
        return refuse(fault, KD_RPC_FD_MISMATCH, &m->base, "upload_id");
    if (has_object && op->fd_in == KD_RPC_FD_NO)
        return refuse(fault, has_fd ? KD_RPC_FD_UNWANTED : KD_RPC_UPLOAD_UNWANTED,
                      &m->base, has_fd ? "takes_fd" : "upload_id");
    if (!has_object && op->fd_in == KD_RPC_FD_MUST)
        return refuse(fault, KD_RPC_FD_NEEDED, &m->base, "takes_fd");
    if (op->changing && m->idempotency_key.len == 0)
        return refuse(fault, KD_RPC_KEY_NEEDED, &m->base, "idempotency_key");
    if (!op->changing && m->idempotency_key.len != 0)
        return refuse(fault, KD_RPC_KEY_UNWANTED, &m->base, "idempotency_key");
    return check_operation(m, has_object, fault);
}

kd_err
kd_rpc_check_request(const Keyd__V1__Request *m, bool has_fd,
                     struct kd_rpc_fault *fault)
{
    kd_err err;

    *fault = (struct kd_rpc_fault){.id = m->id};
    if ((err = kd_rpc_check_limits(&m->base, fault)) != KD_OK)
        return err;
    return check_request_rules(m, has_fd, fault);
}

/* What is large is in the answer or in its object, never in both or neither. */
static kd_err
check_large(const ProtobufCBinaryData *octets, uint32_t fd_size, bool has_object,
            const ProtobufCMessage *m, const char *const names[2],
            struct kd_rpc_fault *fault)
{
    if ((fd_size != 0) != has_object)
        return refuse(fault, KD_RPC_FD_MISMATCH, m, names[1]);
    if ((octets->len != 0) == has_object)
        return refuse(fault, KD_RPC_FIELD_VALUE, m, names[0]);
    return KD_OK;
}

static kd_err
check_signet(const ProtobufCBinaryData *signet, uint32_t fd_size, bool has_object,
             const ProtobufCMessage *m, struct kd_rpc_fault *fault)
{
    static const char *const names[] = {"signet", "signet_fd_size"};

    return check_large(signet, fd_size, has_object, m, names, fault);
}

static kd_err
check_bounce(const Keyd__V1__MakeBounceResult *m, bool has_object,
             struct kd_rpc_fault *fault)
{
    static const char *const names[] = {"bounce", "bounce_fd_size"};

    return check_large(&m->bounce, m->bounce_fd_size, has_object, &m->base, names,
                       fault);
}

/* Who it is for is told exactly where somebody is to have it. */
static kd_err
check_envelope(const Keyd__V1__OpenEnvelopeResult *m, struct kd_rpc_fault *fault)
{
    bool for_somebody = m->verdict == KEYD__V1__ENVELOPE__ENVELOPE_CURRENT ||
                        m->verdict == KEYD__V1__ENVELOPE__ENVELOPE_STALE;

    if (for_somebody != (m->recipient.len != 0))
        return refuse(fault, KD_RPC_FIELD_VALUE, &m->base, "recipient");
    if (for_somebody != (m->recipient_fp.len != 0))
        return refuse(fault, KD_RPC_FIELD_VALUE, &m->base, "recipient_fp");
    return KD_OK;
}

static kd_err
check_result(const Keyd__V1__Response *m, bool has_object, struct kd_rpc_fault *fault)
{
    const Keyd__V1__IssuedSignet *issued = NULL;

    switch ((unsigned)m->result_case) {
    case KEYD__V1__RESPONSE__RESULT_HELLO:
        if (!is_printable(m->hello->class_name))
            return refuse(fault, KD_RPC_FIELD_VALUE, &m->hello->base, "class_name");
        if (!is_printable(m->hello->server_name))
            return refuse(fault, KD_RPC_FIELD_VALUE, &m->hello->base, "server_name");
        break;
    case KEYD__V1__RESPONSE__RESULT_LOOKUP_SIGNET:
        return check_signet(&m->lookup_signet->signet, m->lookup_signet->signet_fd_size,
                            has_object, &m->lookup_signet->base, fault);
    case KEYD__V1__RESPONSE__RESULT_MAKE_BOUNCE:
        return check_bounce(m->make_bounce, has_object, fault);
    case KEYD__V1__RESPONSE__RESULT_OPEN_ENVELOPE:
        if (check_envelope(m->open_envelope, fault) != KD_OK)
            return KD_INVALID;
        break;
    case KEYD__V1__RESPONSE__RESULT_ISSUE_USER_SIGNET:
        issued = m->issue_user_signet;
        break;
    case KEYD__V1__RESPONSE__RESULT_ISSUE_ORG_SIGNET:
        issued = m->issue_org_signet;
        break;
    default:
        break;
    }
    if (issued != NULL)
        return check_signet(&issued->signet, issued->signet_fd_size, has_object,
                            &issued->base, fault);
    if (has_object)
        return refuse(fault, KD_RPC_FD_UNWANTED, &m->base, NULL);
    return KD_OK;
}

static kd_err
check_response_rules(const Keyd__V1__Response *m, bool has_fd,
                     struct kd_rpc_fault *fault)
{
    bool ok = m->status == KEYD__V1__STATUS__STATUS_OK;
    bool has_object = has_fd || m->object_id.len != 0;
    bool waits = m->status == KEYD__V1__STATUS__STATUS_APPROVAL_NEEDED;

    if (ok != (m->result_case != KEYD__V1__RESPONSE__RESULT__NOT_SET))
        return refuse(fault, KD_RPC_RESULT_MISMATCH, &m->base, "status");
    if (has_fd && m->object_id.len != 0)
        return refuse(fault, KD_RPC_FD_MISMATCH, &m->base, "object_id");
    if (!ok && has_object)
        return refuse(fault, KD_RPC_FD_UNWANTED, &m->base, NULL);
    if (ok && m->id == 0)
        return refuse(fault, KD_RPC_FIELD_RANGE, &m->base, "id");
    if (ok && m->detail.len != 0)
        return refuse(fault, KD_RPC_FIELD_VALUE, &m->base, "detail");
    if (ok && m->retry_after_ms != 0)
        return refuse(fault, KD_RPC_FIELD_VALUE, &m->base, "retry_after_ms");
    if (waits != (m->approval_id.len != 0))
        return refuse(fault, KD_RPC_FIELD_VALUE, &m->base, "approval_id");
    if (waits != (m->approvals_missing != 0))
        return refuse(fault, KD_RPC_FIELD_VALUE, &m->base, "approvals_missing");
    if (!is_reason_word(m->detail))
        return refuse(fault, KD_RPC_FIELD_VALUE, &m->base, "detail");
    return check_result(m, has_object, fault);
}

kd_err
kd_rpc_check_response(const Keyd__V1__Response *m, bool has_fd,
                      struct kd_rpc_fault *fault)
{
    kd_err err;

    *fault = (struct kd_rpc_fault){.id = m->id};
    if ((err = kd_rpc_check_limits(&m->base, fault)) != KD_OK)
        return err;
    return check_response_rules(m, has_fd, fault);
}
