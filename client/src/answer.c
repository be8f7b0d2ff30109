/* From messages to the caller's structures, which point into the box's arena. */
#include "client.h"

#include <keyd/base/memfd.h>
#include <stdlib.h>

static struct keyd_octets
octets(ProtobufCBinaryData s)
{
    return (struct keyd_octets){s.data, s.len};
}

/* The arena goes on where decoding left it; a converted array costs about what the
 * decoded one did, so its budget is raised by one more message's. */
static void *
take(struct box *box, size_t n, size_t size)
{
    return kd_arena_alloc(&box->arena, n * size);
}

static struct keyd_key
key(const Keyd__V1__Key *k, const struct keyd_octets *tokens,
    const struct keyd_octets *objects)
{
    return (struct keyd_key){
        .id = octets(k->id),
        .role = (enum keyd_key_role)k->role,
        .algorithm = (enum keyd_key_algorithm)k->algorithm,
        .state = (enum keyd_key_state)k->state,
        .permissions = k->permissions,
        .public_key = octets(k->public_key),
        .domain = octets(k->domain),
        .created_ms = k->created_ms,
        .holding = (enum keyd_key_holding)k->holding,
        .tokens = tokens,
        .n_tokens = k->n_tokens,
        .attested = k->attested,
        .away = k->away,
        .objects = objects,
        .n_objects = k->n_objects,
    };
}

static struct keyd_octets *
octets_list(struct box *box, const ProtobufCBinaryData *from, size_t n)
{
    struct keyd_octets *to = take(box, n, sizeof *to);

    for (size_t i = 0; to != NULL && i < n; i++)
        to[i] = octets(from[i]);
    return to;
}

static enum keyd_status
fill_keys(struct box *box, Keyd__V1__Key *const *from, size_t n,
          struct keyd_octets next)
{
    struct keyd_key *to = take(box, n, sizeof *to);

    if (to == NULL)
        return KEYD_NOMEM;
    for (size_t i = 0; i < n; i++) {
        struct keyd_octets *tokens =
            octets_list(box, from[i]->tokens, from[i]->n_tokens);
        struct keyd_octets *objects =
            octets_list(box, from[i]->objects, from[i]->n_objects);
        if (tokens == NULL || objects == NULL)
            return KEYD_NOMEM;
        to[i] = key(from[i], tokens, objects);
    }
    box->answer.out.keys.keys = to;
    box->answer.out.keys.n_keys = n;
    box->answer.out.keys.next = next;
    return KEYD_OK;
}

static enum keyd_status
fill_processes(struct box *box, Keyd__V1__ProcessInfo *const *from, size_t n)
{
    struct keyd_process *to = take(box, n, sizeof *to);

    if (to == NULL)
        return KEYD_NOMEM;
    for (size_t i = 0; i < n; i++)
        to[i] = (struct keyd_process){
            .role = (enum keyd_process_role)from[i]->role,
            .name = octets(from[i]->name),
            .pid = from[i]->pid,
            .uid = from[i]->uid,
            .sandbox = from[i]->sandbox,
            .holds_keys = from[i]->holds_keys,
        };
    box->answer.out.status.processes = to;
    box->answer.out.status.n_processes = n;
    return KEYD_OK;
}

static enum keyd_status
fill_counters(struct box *box, Keyd__V1__Counter *const *from, size_t n)
{
    struct keyd_counter *to = take(box, n, sizeof *to);

    if (to == NULL)
        return KEYD_NOMEM;
    for (size_t i = 0; i < n; i++)
        to[i] = (struct keyd_counter){octets(from[i]->name), from[i]->value};
    box->answer.out.status.counters = to;
    box->answer.out.status.n_counters = n;
    return KEYD_OK;
}

static enum keyd_status
fill_reasons(struct box *box, const ProtobufCBinaryData *from, size_t n)
{
    struct keyd_octets *to = take(box, n, sizeof *to);

    if (to == NULL)
        return KEYD_NOMEM;
    for (size_t i = 0; i < n; i++)
        to[i] = octets(from[i]);
    box->answer.out.status.reasons = to;
    box->answer.out.status.n_reasons = n;
    return KEYD_OK;
}

static enum keyd_status
fill_shadow(struct box *box, Keyd__V1__ShadowLine *const *from, size_t n)
{
    struct keyd_shadow_line *to = take(box, n, sizeof *to);

    if (to == NULL)
        return KEYD_NOMEM;
    for (size_t i = 0; i < n; i++)
        to[i] = (struct keyd_shadow_line){
            .principal = octets(from[i]->principal),
            .operation = octets(from[i]->operation),
            .would_refuse = from[i]->would_refuse,
            .would_allow = from[i]->would_allow,
        };
    box->answer.out.status.shadow = to;
    box->answer.out.status.n_shadow = n;
    return KEYD_OK;
}

static enum keyd_status
fill_status(struct box *box, const Keyd__V1__StatusResult *m)
{
    enum keyd_status status;

    box->answer.out.status.state = (enum keyd_service_state)m->state;
    box->answer.out.status.version = octets(m->version);
    box->answer.out.status.probe_ok = m->probe_ok;
    box->answer.out.status.probe_us = m->probe_us;
    box->answer.out.status.single_operator = m->single_operator;
    box->answer.out.status.epoch = m->epoch;
    box->answer.out.status.audit_seq = m->audit_seq;
    box->answer.out.status.started_ms = m->started_ms;
    box->answer.out.status.shadow_on = m->shadow_on;
    box->answer.out.status.shadow_since_ms = m->shadow_since_ms;
    box->answer.out.status.shadow_pairs = m->shadow_pairs;
    status = fill_processes(box, m->processes, m->n_processes);
    if (status == KEYD_OK)
        status = fill_counters(box, m->counters, m->n_counters);
    if (status == KEYD_OK)
        status = fill_reasons(box, m->reasons, m->n_reasons);
    if (status == KEYD_OK)
        status = fill_shadow(box, m->shadow, m->n_shadow);
    return status;
}

static enum keyd_status
fill_history(struct box *box, const Keyd__V1__LookupHistoryResult *m)
{
    struct keyd_octets *to = take(box, m->n_cores, sizeof *to);

    if (to == NULL)
        return KEYD_NOMEM;
    for (size_t i = 0; i < m->n_cores; i++)
        to[i] = octets(m->cores[i]);
    box->answer.out.history.cores = to;
    box->answer.out.history.n_cores = m->n_cores;
    box->answer.out.history.next = octets(m->next);
    return KEYD_OK;
}

static enum keyd_status
fill_audit(struct box *box, const Keyd__V1__AuditReadResult *m)
{
    struct keyd_audit_item *records = take(box, m->n_records, sizeof *records);
    struct keyd_audit_item *points = take(box, m->n_checkpoints, sizeof *points);

    if (records == NULL || points == NULL)
        return KEYD_NOMEM;
    for (size_t i = 0; i < m->n_records; i++)
        records[i] =
            (struct keyd_audit_item){m->records[i]->seq, octets(m->records[i]->record)};
    for (size_t i = 0; i < m->n_checkpoints; i++)
        points[i] = (struct keyd_audit_item){m->checkpoints[i]->seq,
                                             octets(m->checkpoints[i]->checkpoint)};
    box->answer.out.audit.records = records;
    box->answer.out.audit.n_records = m->n_records;
    box->answer.out.audit.checkpoints = points;
    box->answer.out.audit.n_checkpoints = m->n_checkpoints;
    box->answer.out.audit.next_seq = m->next_seq;
    return KEYD_OK;
}

static void
fill_account(struct box *box, const Keyd__V1__FreezeAddressResult *m)
{
    box->answer.out.account.state = (enum keyd_account_state)m->state;
    box->answer.out.account.reason = (enum keyd_freeze_reason)m->reason;
    box->answer.out.account.since_ms = m->since_ms;
    box->answer.out.account.changed = m->changed;
    box->answer.out.account.attested = m->attested;
}

static enum keyd_status
fill_resets(struct box *box, const Keyd__V1__ResetAddressResult *m)
{
    struct keyd_reset *to = take(box, m->n_resets, sizeof *to);

    if (to == NULL)
        return KEYD_NOMEM;
    for (size_t i = 0; i < m->n_resets; i++)
        to[i] = (struct keyd_reset){
            .address = octets(m->resets[i]->address),
            .generation = m->resets[i]->generation,
            .requested_ms = m->resets[i]->requested_ms,
            .remaining_ms = m->resets[i]->remaining_ms,
            .approved = m->resets[i]->approved,
        };
    box->answer.out.resets.resets = to;
    box->answer.out.resets.n_resets = m->n_resets;
    box->answer.out.resets.next = octets(m->next);
    box->answer.out.resets.changed = m->changed;
    return KEYD_OK;
}

static enum keyd_status
fill_stopped(struct box *box, const Keyd__V1__StopPrincipalResult *m)
{
    struct keyd_stopped *to = take(box, m->n_stopped, sizeof *to);

    if (to == NULL)
        return KEYD_NOMEM;
    for (size_t i = 0; i < m->n_stopped; i++)
        to[i] = (struct keyd_stopped){octets(m->stopped[i]->class_name),
                                      octets(m->stopped[i]->name)};
    box->answer.out.stopped.stopped = to;
    box->answer.out.stopped.n_stopped = m->n_stopped;
    box->answer.out.stopped.changed = m->changed;
    return KEYD_OK;
}

static void
fill_audit_head(struct box *box, const Keyd__V1__AuditHeadResult *m)
{
    box->answer.out.audit_head.epoch = m->epoch;
    box->answer.out.audit_head.seq = m->seq;
    box->answer.out.audit_head.time_ms = m->time_ms;
    box->answer.out.audit_head.record_hash = octets(m->record_hash);
    box->answer.out.audit_head.tree_head = octets(m->tree_head);
    box->answer.out.audit_head.checkpoint = octets(m->checkpoint);
    box->answer.out.audit_head.first_seq = m->first_seq;
    box->answer.out.audit_head.base_checkpoint = octets(m->base_checkpoint);
}

static void
fill_backup(struct box *box, const Keyd__V1__RegistryBackupResult *m)
{
    box->answer.out.backup.state = (enum keyd_backup_state)m->state;
    box->answer.out.backup.pages = m->pages;
    box->answer.out.backup.pages_total = m->pages_total;
    box->answer.out.backup.seq = m->seq;
    box->answer.out.backup.size = m->size;
    box->answer.out.backup.record_hash = octets(m->record_hash);
    box->answer.out.backup.reason = octets(m->reason);
}

static enum keyd_status
fill_approvals(struct box *box, Keyd__V1__Approval *const *from, size_t n)
{
    struct keyd_approval *to = take(box, n, sizeof *to);

    if (to == NULL)
        return KEYD_NOMEM;
    for (size_t i = 0; i < n; i++) {
        const Keyd__V1__Approval *m = from[i];
        struct keyd_octets *names = take(box, m->n_approved_by, sizeof *names);
        if (names == NULL)
            return KEYD_NOMEM;
        for (size_t k = 0; k < m->n_approved_by; k++)
            names[k] = octets(m->approved_by[k]);
        to[i] = (struct keyd_approval){.id = octets(m->id),
                                       .operation = m->operation,
                                       .requester = octets(m->requester),
                                       .made_ms = m->made_ms,
                                       .not_after_ms = m->not_after_ms,
                                       .needed = m->needed,
                                       .digest = octets(m->digest),
                                       .approved_by = names,
                                       .n_approved_by = m->n_approved_by};
    }
    box->answer.out.approvals.approvals = to;
    box->answer.out.approvals.n_approvals = n;
    return KEYD_OK;
}

static enum keyd_status
fill_approval_list(struct box *box, const Keyd__V1__ApprovalListResult *m)
{
    struct keyd_operator *to = take(box, m->n_operators, sizeof *to);

    if (to == NULL)
        return KEYD_NOMEM;
    for (size_t i = 0; i < m->n_operators; i++)
        to[i] = (struct keyd_operator){octets(m->operators[i]->name),
                                       octets(m->operators[i]->public_key)};
    box->answer.out.approvals.k = m->k;
    box->answer.out.approvals.marks = m->marks;
    box->answer.out.approvals.operators = to;
    box->answer.out.approvals.n_operators = m->n_operators;
    return fill_approvals(box, m->approvals, m->n_approvals);
}

static enum keyd_status
fill_approval_show(struct box *box, const Keyd__V1__ApprovalShowResult *m)
{
    box->answer.out.approvals.text = octets(m->text);
    return fill_approvals(box, &m->approval, 1);
}

static struct keyd_policy_quota
policy_quota(const Keyd__V1__PolicyQuota *m)
{
    return (struct keyd_policy_quota){
        .of_domain = m->of_domain,
        .operation = m->operation,
        .rate = m->rate,
        .seconds = m->seconds,
        .burst = m->burst,
        .in_flight_max = m->in_flight_max,
        .line = m->line,
        .jobs = {m->left, m->in_flight, m->refused},
        .lookups = {m->lookup_left, m->lookup_in_flight, m->lookup_refused},
    };
}

static enum keyd_status
fill_policy(struct box *box, const Keyd__V1__PolicyExplainResult *m)
{
    struct keyd_policy_decision *decisions =
        take(box, m->n_decisions, sizeof *decisions);
    struct keyd_policy_quota *quotas = take(box, m->n_quotas, sizeof *quotas);

    if (decisions == NULL || quotas == NULL)
        return KEYD_NOMEM;
    for (size_t i = 0; i < m->n_decisions; i++)
        decisions[i] = (struct keyd_policy_decision){
            m->decisions[i]->operation,
            (enum keyd_policy_verdict)m->decisions[i]->verdict, m->decisions[i]->line};
    for (size_t i = 0; i < m->n_quotas; i++)
        quotas[i] = policy_quota(m->quotas[i]);
    box->answer.out.policy.principal = octets(m->principal);
    box->answer.out.policy.class_name = octets(m->class_name);
    box->answer.out.policy.uid = m->uid;
    box->answer.out.policy.section_line = m->section_line;
    box->answer.out.policy.operations_line = m->operations_line;
    box->answer.out.policy.domains_line = m->domains_line;
    box->answer.out.policy.keys_line = m->keys_line;
    box->answer.out.policy.domain_line = m->domain_line;
    box->answer.out.policy.stopped = m->stopped;
    box->answer.out.policy.decisions = decisions;
    box->answer.out.policy.n_decisions = m->n_decisions;
    box->answer.out.policy.quotas = quotas;
    box->answer.out.policy.n_quotas = m->n_quotas;
    return KEYD_OK;
}

/* What comes apart from a response. */
struct apart {
    int fd;   /* -1: it came in parts, or there is none */
    size_t n; /* octets in the box's object */
};

/* A signet or bounce, from the message or whole as it came apart. */
static enum keyd_status
fill_object(struct box *box, ProtobufCBinaryData inline_octets, uint32_t object_size,
            struct apart from, struct keyd_octets *out)
{
    size_t size = from.n;

    if (object_size == 0) {
        *out = octets(inline_octets);
        return KEYD_OK;
    }
    if (from.fd >= 0 && kd_memfd_check(from.fd, KD_RPC_OBJECT_MAX, &size) != KD_OK)
        return KEYD_PROTOCOL;
    if (size != object_size)
        return KEYD_PROTOCOL;
    if (from.fd >= 0 && (box->object = malloc(size)) == NULL)
        return KEYD_NOMEM;
    if (from.fd >= 0 && kd_memfd_read(from.fd, 0, box->object, size) != KD_OK)
        return KEYD_PROTOCOL;
    *out = (struct keyd_octets){box->object, size};
    return KEYD_OK;
}

static enum keyd_status
fill_looked_up(struct box *box, const Keyd__V1__LookupSignetResult *m,
               struct apart from)
{
    box->answer.out.signet.current = m->current;
    box->answer.out.signet.core_fp = octets(m->core_fp);
    box->answer.out.signet.full_fp = octets(m->full_fp);
    box->answer.out.signet.generation = m->generation;
    box->answer.out.signet.seq = m->seq;
    return fill_object(box, m->signet, m->signet_fd_size, from,
                       &box->answer.out.signet.signet);
}

static enum keyd_status
fill_issued(struct box *box, const Keyd__V1__IssuedSignet *m, struct apart from)
{
    box->answer.out.signet.replayed = m->replayed;
    box->answer.out.signet.core_fp = octets(m->core_fp);
    box->answer.out.signet.full_fp = octets(m->full_fp);
    box->answer.out.signet.id_fp = octets(m->id_fp);
    box->answer.out.signet.generation = m->generation;
    box->answer.out.signet.seq = m->seq;
    return fill_object(box, m->signet, m->signet_fd_size, from,
                       &box->answer.out.signet.signet);
}

/* Of messages. */
static void
fill_outbound(struct box *box, const Keyd__V1__SignOutboundResult *m)
{
    box->answer.out.outbound.metadata_bounce = octets(m->metadata_bounce);
    box->answer.out.outbound.display_bounce = octets(m->display_bounce);
    box->answer.out.outbound.organization = octets(m->organization);
    box->answer.out.outbound.destination_fp = octets(m->destination_fp);
    box->answer.out.outbound.author_grace = m->author_grace;
}

static void
fill_envelope(struct box *box, const Keyd__V1__OpenEnvelopeResult *m)
{
    box->answer.out.envelope.verdict = (enum keyd_envelope)m->verdict;
    box->answer.out.envelope.recipient = octets(m->recipient);
    box->answer.out.envelope.recipient_fp = octets(m->recipient_fp);
    box->answer.out.envelope.metadata_bounce =
        (enum keyd_bounce_signature)m->metadata_bounce;
    box->answer.out.envelope.display_bounce =
        (enum keyd_bounce_signature)m->display_bounce;
}

static void
fill_bounced(struct box *box, const Keyd__V1__OpenBounceResult *m)
{
    box->answer.out.bounced.author = octets(m->author);
    box->answer.out.bounced.author_fp = octets(m->author_fp);
    box->answer.out.bounced.part = (enum keyd_returned)m->part;
    box->answer.out.bounced.klass = m->klass;
    box->answer.out.bounced.subject = m->subject;
    box->answer.out.bounced.detail = m->detail;
    box->answer.out.bounced.time_s = m->time_s;
    box->answer.out.bounced.message_id = octets(m->message_id);
}

static enum keyd_status
fill_of_mail(struct box *box, const Keyd__V1__Response *m, struct apart from)
{
    switch ((unsigned)m->result_case) {
    case KEYD__V1__RESPONSE__RESULT_SIGN_OUTBOUND:
        fill_outbound(box, m->sign_outbound);
        return KEYD_OK;
    case KEYD__V1__RESPONSE__RESULT_OPEN_ENVELOPE:
        fill_envelope(box, m->open_envelope);
        return KEYD_OK;
    case KEYD__V1__RESPONSE__RESULT_OPEN_BOUNCE:
        fill_bounced(box, m->open_bounce);
        return KEYD_OK;
    case KEYD__V1__RESPONSE__RESULT_MAKE_BOUNCE:
        return fill_object(box, m->make_bounce->bounce, m->make_bounce->bounce_fd_size,
                           from, &box->answer.out.bounce.bounce);
    default:
        box->answer.out.naked.signature = octets(m->seal_naked->signature);
        return KEYD_OK;
    }
}

static struct keyd_token
token(const Keyd__V1__Token *m)
{
    return (struct keyd_token){
        .name = octets(m->name),
        .state = (enum keyd_token_state)m->state,
        .state_ms = m->state_ms,
        .finding = octets(m->finding),
        .module_error = m->module_error,
        .label = octets(m->label),
        .serial = octets(m->serial),
        .model = octets(m->model),
        .manufacturer = octets(m->manufacturer),
        .adopted = m->adopted,
        .adopted_serial = octets(m->adopted_serial),
        .hosts = m->hosts,
        .keys = m->keys,
        .mechanisms = m->mechanisms,
        .max_message = m->max_message,
        .n_signed = m->n_signed,
        .n_derived = m->n_derived,
        .n_faults = m->n_faults,
        .n_recycled = m->n_recycled,
        .n_away = m->n_away,
    };
}

static enum keyd_status
fill_tokens(struct box *box, Keyd__V1__Token *const *from, size_t n)
{
    struct keyd_token *to = take(box, n, sizeof *to);

    if (to == NULL)
        return KEYD_NOMEM;
    for (size_t i = 0; i < n; i++)
        to[i] = token(from[i]);
    box->answer.out.tokens.tokens = to;
    box->answer.out.tokens.n_tokens = n;
    return KEYD_OK;
}

static enum keyd_status
fill_doctor(struct box *box, const Keyd__V1__TokenDoctorResult *m)
{
    struct keyd_token_finding *to = take(box, m->n_findings, sizeof *to);

    if (to == NULL)
        return KEYD_NOMEM;
    for (size_t i = 0; i < m->n_findings; i++)
        to[i] = (struct keyd_token_finding){
            .token = octets(m->findings[i]->token),
            .finding = octets(m->findings[i]->finding),
            .what = octets(m->findings[i]->what),
            .module_error = m->findings[i]->module_error,
        };
    box->answer.out.doctor.findings = to;
    box->answer.out.doctor.n_findings = m->n_findings;
    return KEYD_OK;
}

/* Of PKCS#11 tokens. */
static enum keyd_status
fill_of_tokens(struct box *box, const Keyd__V1__Response *m)
{
    switch ((unsigned)m->result_case) {
    case KEYD__V1__RESPONSE__RESULT_TOKEN_LIST:
        return fill_tokens(box, m->token_list->tokens, m->token_list->n_tokens);
    case KEYD__V1__RESPONSE__RESULT_TOKEN_DOCTOR:
        return fill_doctor(box, m->token_doctor);
    case KEYD__V1__RESPONSE__RESULT_TOKEN_ADOPT:
        return fill_tokens(box, &m->token_adopt->token, 1);
    case KEYD__V1__RESPONSE__RESULT_ATTACH_KEY:
        return fill_keys(box, &m->attach_key->key, 1, KEYD_NONE);
    default:
        return KEYD_PROTOCOL;
    }
}

/* Of the registry and its log. */
static enum keyd_status
fill_of_registry(struct box *box, const Keyd__V1__Response *m)
{
    switch ((unsigned)m->result_case) {
    case KEYD__V1__RESPONSE__RESULT_AUDIT_READ:
        return fill_audit(box, m->audit_read);
    case KEYD__V1__RESPONSE__RESULT_AUDIT_HEAD:
        fill_audit_head(box, m->audit_head);
        return KEYD_OK;
    case KEYD__V1__RESPONSE__RESULT_REGISTRY_BACKUP:
        fill_backup(box, m->registry_backup);
        return KEYD_OK;
    case KEYD__V1__RESPONSE__RESULT_REGISTRY_RESTORE:
        box->answer.out.restored.epoch = m->registry_restore->epoch;
        box->answer.out.restored.seq = m->registry_restore->seq;
        box->answer.out.restored.state =
            (enum keyd_service_state)m->registry_restore->state;
        return KEYD_OK;
    case KEYD__V1__RESPONSE__RESULT_AUDIT_DROP:
        box->answer.out.dropped.first_seq = m->audit_drop->first_seq;
        return KEYD_OK;
    default:
        return fill_of_tokens(box, m);
    }
}

/* Of what operators decide, on people and on the service. */
static enum keyd_status
fill_of_operators(struct box *box, const Keyd__V1__Response *m)
{
    switch ((unsigned)m->result_case) {
    case KEYD__V1__RESPONSE__RESULT_FREEZE_ADDRESS:
        fill_account(box, m->freeze_address);
        return KEYD_OK;
    case KEYD__V1__RESPONSE__RESULT_RESET_ADDRESS:
        return fill_resets(box, m->reset_address);
    case KEYD__V1__RESPONSE__RESULT_STOP_PRINCIPAL:
        return fill_stopped(box, m->stop_principal);
    case KEYD__V1__RESPONSE__RESULT_SET_QUORUM:
        box->answer.out.set_quorum.generation = m->set_quorum->generation;
        return KEYD_OK;
    case KEYD__V1__RESPONSE__RESULT_APPROVAL_LIST:
        return fill_approval_list(box, m->approval_list);
    case KEYD__V1__RESPONSE__RESULT_APPROVAL_SHOW:
        return fill_approval_show(box, m->approval_show);
    case KEYD__V1__RESPONSE__RESULT_APPROVAL_SIGN:
        box->answer.out.approval_sign.given = m->approval_sign->given;
        box->answer.out.approval_sign.needed = m->approval_sign->needed;
        return KEYD_OK;
    case KEYD__V1__RESPONSE__RESULT_POLICY_EXPLAIN:
        return fill_policy(box, m->policy_explain);
    case KEYD__V1__RESPONSE__RESULT_RELOAD:
        box->answer.out.reload.serial = m->reload->serial;
        box->answer.out.reload.digest = octets(m->reload->digest);
        box->answer.out.reload.warnings = m->reload->warnings;
        return KEYD_OK;
    case KEYD__V1__RESPONSE__RESULT_DRAIN:
        box->answer.out.drain.state = (enum keyd_service_state)m->drain->state;
        box->answer.out.drain.in_flight = m->drain->in_flight;
        return KEYD_OK;
    default:
        return fill_of_registry(box, m);
    }
}

/* Of the key store. */
static enum keyd_status
fill_of_keys(struct box *box, const Keyd__V1__Response *m)
{
    switch ((unsigned)m->result_case) {
    case KEYD__V1__RESPONSE__RESULT_PUBLIC_KEYS:
        return fill_keys(box, m->public_keys->keys, m->public_keys->n_keys,
                         octets(m->public_keys->next));
    case KEYD__V1__RESPONSE__RESULT_TOKEN_INIT:
        box->answer.out.slot.slot = m->token_init->slot;
        return KEYD_OK;
    case KEYD__V1__RESPONSE__RESULT_ADD_UNSEAL_SLOT:
        box->answer.out.slot.slot = m->add_unseal_slot->slot;
        return KEYD_OK;
    case KEYD__V1__RESPONSE__RESULT_UNSEAL:
        box->answer.out.slot.state = (enum keyd_service_state)m->unseal->state;
        box->answer.out.slot.shares_missing = m->unseal->shares_missing;
        return KEYD_OK;
    case KEYD__V1__RESPONSE__RESULT_SEAL:
        box->answer.out.slot.state = (enum keyd_service_state)m->seal->state;
        return KEYD_OK;
    case KEYD__V1__RESPONSE__RESULT_GENERATE_KEY:
        return fill_keys(box, &m->generate_key->key, 1, KEYD_NONE);
    case KEYD__V1__RESPONSE__RESULT_RETIRE_KEY:
        return fill_keys(box, &m->retire_key->key, 1, KEYD_NONE);
    case KEYD__V1__RESPONSE__RESULT_IMPORT_KEY:
        return fill_keys(box, m->import_key->keys, m->import_key->n_keys, KEYD_NONE);
    default:
        return fill_of_operators(box, m);
    }
}

enum keyd_status
answer_fill(struct box *box, const Keyd__V1__Response *m, int fd, size_t n_object)
{
    struct apart from = {fd, n_object};

    /* The largest arrays are 128 counters and 96 lines. */
    box->arena.budget += KD_RPC_ARENA_BASE;
    switch ((unsigned)m->result_case) {
    case KEYD__V1__RESPONSE__RESULT_SERVICE_STATUS:
        return fill_status(box, m->service_status);
    case KEYD__V1__RESPONSE__RESULT_LOOKUP_SIGNET:
        return fill_looked_up(box, m->lookup_signet, from);
    case KEYD__V1__RESPONSE__RESULT_LOOKUP_HISTORY:
        return fill_history(box, m->lookup_history);
    case KEYD__V1__RESPONSE__RESULT_VERIFY_CURRENT:
        box->answer.out.verify.verdict = (enum keyd_verdict)m->verify_current->verdict;
        box->answer.out.verify.current_fp = octets(m->verify_current->current_fp);
        return KEYD_OK;
    case KEYD__V1__RESPONSE__RESULT_ISSUE_USER_SIGNET:
        return fill_issued(box, m->issue_user_signet, from);
    case KEYD__V1__RESPONSE__RESULT_ISSUE_ORG_SIGNET:
        return fill_issued(box, m->issue_org_signet, from);
    case KEYD__V1__RESPONSE__RESULT_SIGN_TLS_RECORD:
        box->answer.out.tls_record.of_hash = octets(m->sign_tls_record->of_hash);
        box->answer.out.tls_record.of_der = octets(m->sign_tls_record->of_der);
        return KEYD_OK;
    case KEYD__V1__RESPONSE__RESULT_SIGN_OUTBOUND:
    case KEYD__V1__RESPONSE__RESULT_OPEN_ENVELOPE:
    case KEYD__V1__RESPONSE__RESULT_OPEN_BOUNCE:
    case KEYD__V1__RESPONSE__RESULT_MAKE_BOUNCE:
    case KEYD__V1__RESPONSE__RESULT_SEAL_NAKED:
        return fill_of_mail(box, m, from);
    default:
        return fill_of_keys(box, m);
    }
}

uint32_t
answer_object_size(const Keyd__V1__Response *m)
{
    switch ((unsigned)m->result_case) {
    case KEYD__V1__RESPONSE__RESULT_LOOKUP_SIGNET:
        return m->lookup_signet->signet_fd_size;
    case KEYD__V1__RESPONSE__RESULT_ISSUE_USER_SIGNET:
        return m->issue_user_signet->signet_fd_size;
    case KEYD__V1__RESPONSE__RESULT_ISSUE_ORG_SIGNET:
        return m->issue_org_signet->signet_fd_size;
    case KEYD__V1__RESPONSE__RESULT_MAKE_BOUNCE:
        return m->make_bounce->bounce_fd_size;
    default:
        return 0;
    }
}

bool
box_hold(struct box *box, size_t n)
{
    uint8_t *p = realloc(box->object, n);

    if (p == NULL)
        return false;
    box->object = p;
    return true;
}

void
box_reset(struct box *box)
{
    kd_arena_free(&box->arena);
    free(box->object);
    box->object = NULL;
    box->answer.retry_after_ms = 0;
    box->answer.approvals_missing = 0;
    memset(box->answer.approval_id, 0, sizeof box->answer.approval_id);
    memset(&box->answer.out, 0, sizeof box->answer.out);
}

void
box_free(struct box *box)
{
    if (box == NULL)
        return;
    kd_arena_free(&box->arena);
    free(box->object);
    free(box);
}

void
keyd_client_answer_free(struct keyd_answer *answer)
{
    box_free((struct box *)answer); /* the answer is the box's first member */
}
