/* One operation, one function: each fills a request and waits. */
#include <keyd_client.h>

enum keyd_status
keyd_client_status(keyd_client *c, struct keyd_answer **answer)
{
    struct keyd_request q = {.op = KEYD_OP_STATUS};

    return keyd_client_call(c, &q, answer);
}

enum keyd_status
keyd_client_public_keys(keyd_client *c, struct keyd_octets domain,
                        struct keyd_octets after_id, struct keyd_answer **answer)
{
    struct keyd_request q = {.op = KEYD_OP_PUBLIC_KEYS,
                             .in.public_keys = {domain, after_id}};

    return keyd_client_call(c, &q, answer);
}

enum keyd_status
keyd_client_lookup_signet(keyd_client *c, struct keyd_octets name,
                          struct keyd_octets fingerprint, struct keyd_answer **answer)
{
    struct keyd_request q = {.op = KEYD_OP_LOOKUP_SIGNET,
                             .in.lookup_signet = {name, fingerprint}};

    return keyd_client_call(c, &q, answer);
}

enum keyd_status
keyd_client_lookup_history(keyd_client *c, struct keyd_octets address,
                           struct keyd_octets start_fp, struct keyd_octets stop_fp,
                           struct keyd_octets page, struct keyd_answer **answer)
{
    struct keyd_request q = {
        .op = KEYD_OP_LOOKUP_HISTORY,
        .in.lookup_history = {address, start_fp, stop_fp, page, 0}};

    return keyd_client_call(c, &q, answer);
}

enum keyd_status
keyd_client_verify_current(keyd_client *c, struct keyd_octets name,
                           struct keyd_octets fingerprint, struct keyd_answer **answer)
{
    struct keyd_request q = {.op = KEYD_OP_VERIFY_CURRENT,
                             .in.verify_current = {name, fingerprint}};

    return keyd_client_call(c, &q, answer);
}

enum keyd_status
keyd_client_issue_user_signet(keyd_client *c, struct keyd_octets address,
                              struct keyd_octets ssr, enum keyd_account_mode mode,
                              const struct keyd_profile_field *profile,
                              size_t n_profile, struct keyd_octets image,
                              struct keyd_answer **answer)
{
    struct keyd_request q = {.op = KEYD_OP_ISSUE_USER_SIGNET,
                             .in.issue_user_signet = {.address = address,
                                                      .ssr = ssr,
                                                      .account_mode = mode,
                                                      .profile = profile,
                                                      .n_profile = n_profile,
                                                      .image = image}};

    return keyd_client_call(c, &q, answer);
}

enum keyd_status
keyd_client_sign_outbound(keyd_client *c, struct keyd_octets account,
                          struct keyd_octets destination, struct keyd_octets origin_fp,
                          struct keyd_octets message, struct keyd_answer **answer)
{
    struct keyd_request q = {
        .op = KEYD_OP_SIGN_OUTBOUND,
        .in.sign_outbound = {account, destination, origin_fp, message}};

    return keyd_client_call(c, &q, answer);
}

enum keyd_status
keyd_client_open_envelope(keyd_client *c, struct keyd_octets origin,
                          struct keyd_octets origin_fp, struct keyd_octets domain,
                          struct keyd_octets domain_fp,
                          struct keyd_octets origin_signet, struct keyd_octets message,
                          struct keyd_answer **answer)
{
    struct keyd_request q = {.op = KEYD_OP_OPEN_ENVELOPE,
                             .in.inbound = {.origin = origin,
                                            .origin_fp = origin_fp,
                                            .domain = domain,
                                            .domain_fp = domain_fp,
                                            .origin_signet = origin_signet,
                                            .message = message}};

    return keyd_client_call(c, &q, answer);
}

enum keyd_status
keyd_client_open_bounce(keyd_client *c, struct keyd_octets origin,
                        struct keyd_octets origin_fp, struct keyd_octets domain,
                        struct keyd_octets domain_fp, struct keyd_octets origin_signet,
                        struct keyd_octets bounce, struct keyd_answer **answer)
{
    struct keyd_request q = {.op = KEYD_OP_OPEN_BOUNCE,
                             .in.inbound = {.origin = origin,
                                            .origin_fp = origin_fp,
                                            .domain = domain,
                                            .domain_fp = domain_fp,
                                            .origin_signet = origin_signet,
                                            .message = bounce}};

    return keyd_client_call(c, &q, answer);
}

enum keyd_status
keyd_client_make_bounce(keyd_client *c, struct keyd_octets origin,
                        struct keyd_octets origin_fp, struct keyd_octets domain,
                        struct keyd_octets domain_fp, struct keyd_octets origin_signet,
                        struct keyd_octets message, enum keyd_returned part,
                        const uint32_t status[3], struct keyd_answer **answer)
{
    struct keyd_request q = {.op = KEYD_OP_MAKE_BOUNCE,
                             .in.inbound = {.origin = origin,
                                            .origin_fp = origin_fp,
                                            .domain = domain,
                                            .domain_fp = domain_fp,
                                            .origin_signet = origin_signet,
                                            .message = message,
                                            .part = part,
                                            .klass = status[0],
                                            .subject = status[1],
                                            .detail = status[2]}};

    return keyd_client_call(c, &q, answer);
}

enum keyd_status
keyd_client_seal_naked(keyd_client *c, struct keyd_octets recipient,
                       struct keyd_octets message, struct keyd_answer **answer)
{
    struct keyd_request q = {.op = KEYD_OP_SEAL_NAKED,
                             .in.seal_naked = {recipient, message}};

    return keyd_client_call(c, &q, answer);
}

static enum keyd_status
call_slot(keyd_client *c, enum keyd_op op, enum keyd_slot_kind kind,
          struct keyd_secret secret, struct keyd_answer **answer)
{
    struct keyd_request q = {.op = op, .in.slot = {kind, secret}};

    return keyd_client_call(c, &q, answer);
}

enum keyd_status
keyd_client_token_init(keyd_client *c, enum keyd_slot_kind kind,
                       struct keyd_secret secret, struct keyd_answer **answer)
{
    return call_slot(c, KEYD_OP_TOKEN_INIT, kind, secret, answer);
}

enum keyd_status
keyd_client_add_unseal_slot(keyd_client *c, enum keyd_slot_kind kind,
                            struct keyd_secret secret, struct keyd_answer **answer)
{
    return call_slot(c, KEYD_OP_ADD_UNSEAL_SLOT, kind, secret, answer);
}

enum keyd_status
keyd_client_unseal(keyd_client *c, enum keyd_slot_kind kind, struct keyd_secret secret,
                   struct keyd_answer **answer)
{
    return call_slot(c, KEYD_OP_UNSEAL, kind, secret, answer);
}

enum keyd_status
keyd_client_seal(keyd_client *c, struct keyd_answer **answer)
{
    struct keyd_request q = {.op = KEYD_OP_SEAL};

    return keyd_client_call(c, &q, answer);
}

enum keyd_status
keyd_client_generate_key(keyd_client *c, enum keyd_key_role role,
                         enum keyd_key_algorithm algorithm, struct keyd_octets domain,
                         uint32_t permissions, struct keyd_answer **answer)
{
    struct keyd_request q = {.op = KEYD_OP_GENERATE_KEY,
                             .in.generate_key = {.role = role,
                                                 .algorithm = algorithm,
                                                 .domain = domain,
                                                 .permissions = permissions}};

    return keyd_client_call(c, &q, answer);
}

enum keyd_status
keyd_client_retire_key(keyd_client *c, struct keyd_octets id,
                       struct keyd_answer **answer)
{
    struct keyd_request q = {.op = KEYD_OP_RETIRE_KEY, .in.retire_key = {id}};

    return keyd_client_call(c, &q, answer);
}

enum keyd_status
keyd_client_audit_read(keyd_client *c, uint64_t from_seq, uint32_t limit,
                       struct keyd_answer **answer)
{
    struct keyd_request q = {.op = KEYD_OP_AUDIT_READ,
                             .in.audit_read = {from_seq, limit}};

    return keyd_client_call(c, &q, answer);
}

enum keyd_status
keyd_client_audit_head(keyd_client *c, struct keyd_answer **answer)
{
    struct keyd_request q = {.op = KEYD_OP_AUDIT_HEAD};

    return keyd_client_call(c, &q, answer);
}

enum keyd_status
keyd_client_token_list(keyd_client *c, struct keyd_answer **answer)
{
    struct keyd_request q = {.op = KEYD_OP_TOKEN_LIST};

    return keyd_client_call(c, &q, answer);
}

enum keyd_status
keyd_client_token_doctor(keyd_client *c, struct keyd_octets name,
                         struct keyd_answer **answer)
{
    struct keyd_request q = {.op = KEYD_OP_TOKEN_DOCTOR, .in.token.name = name};

    return keyd_client_call(c, &q, answer);
}

enum keyd_status
keyd_client_token_adopt(keyd_client *c, struct keyd_octets name,
                        struct keyd_octets serial, struct keyd_answer **answer)
{
    struct keyd_request q = {.op = KEYD_OP_TOKEN_ADOPT, .in.token = {name, serial}};

    return keyd_client_call(c, &q, answer);
}

enum keyd_status
keyd_client_attach_key(keyd_client *c, struct keyd_octets id, struct keyd_octets token,
                       struct keyd_answer **answer)
{
    struct keyd_request q = {.op = KEYD_OP_ATTACH_KEY, .in.attach_key = {id, token}};

    return keyd_client_call(c, &q, answer);
}

enum keyd_status
keyd_client_sign_tls_record(keyd_client *c, struct keyd_octets domain,
                            struct keyd_octets pok_id, struct keyd_octets certificate,
                            struct keyd_answer **answer)
{
    struct keyd_request q = {.op = KEYD_OP_SIGN_TLS_RECORD,
                             .in.sign_tls_record = {domain, pok_id, certificate}};

    return keyd_client_call(c, &q, answer);
}

enum keyd_status
keyd_client_reload(keyd_client *c, struct keyd_answer **answer)
{
    struct keyd_request q = {.op = KEYD_OP_RELOAD};

    return keyd_client_call(c, &q, answer);
}

enum keyd_status
keyd_client_drain(keyd_client *c, enum keyd_drain_action action, bool wait,
                  struct keyd_answer **answer)
{
    struct keyd_request q = {.op = KEYD_OP_DRAIN, .in.drain = {action, wait}};

    return keyd_client_call(c, &q, answer);
}
