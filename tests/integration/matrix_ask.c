#include "matrix_ask.h"

#include "ask.h"

#include <sodium.h>
#include <stdio.h>
#include <unistd.h>

#define COM KEYD_STR("example.com")

static const uint8_t nothing[32];

/* --- what is marked, well asked --- */

static char key_text[DIME_DKEY_TEXT_MAX];
static size_t key_size;
static uint8_t operator_keys[3][32];

void
matrix_ask_setup(void)
{
    uint8_t seed[32] = {0x4d, 0x61}, scalar[32] = {0x01, 0x4d}, secret[64];

    key_size = ask_key_file(DIME_DKEY_ORG, seed, scalar, key_text);
    for (size_t i = 0; i < 3; i++) {
        seed[2] = (uint8_t)(i + 1);
        kd_ignore(crypto_sign_seed_keypair(operator_keys[i], secret, seed));
    }
}

struct keyd_request
matrix_enrolment(void)
{
    static const char *const names[3] = {"ben", "caller-admin", "dan"};
    static struct keyd_operator operators[3];
    uint64_t marks = 0;

    for (size_t i = 0; i < 3; i++)
        operators[i] =
            (struct keyd_operator){KEYD_STR(names[i]), {operator_keys[i], 32}};
    for (unsigned op = 1; op <= KD_OP_MAX; op++)
        marks |= (uint64_t)marked[op].is_marked << op;
    return (struct keyd_request){
        .op = KEYD_OP_SET_QUORUM,
        .in.set_quorum = {
            .k = 2, .marks = marks, .operators = operators, .n_operators = 3}};
}

/* The same request each time it is asked, which is then one that waits. */
static void
well(struct matrix_ask *a, enum kd_op op, const struct matrix_about *about)
{
    const struct daemon_org *org = &about->org;
    static struct keyd_octets soks[1];

    a->key[0] = (uint8_t)op;
    a->key[1] = (uint8_t)geteuid();
    a->q.idempotency_key = a->key;
    switch ((unsigned)op) {
    case KD_OP_ResetAddress:
        a->q.in.reset_address.action = KEYD_RESET_APPROVE;
        break;
    case KD_OP_RetireKey:
        a->q.in.retire_key.id = (struct keyd_octets){org->sok, 16};
        break;
    case KD_OP_ImportKey:
        memcpy(a->secret, key_text, key_size);
        a->q.in.import_key.key_file = (struct keyd_secret){a->secret, key_size};
        break;
    case KD_OP_IssueOrgSignet:
        soks[0] = (struct keyd_octets){org->sok, 16};
        a->q.in.issue_org_signet.pok_id = (struct keyd_octets){org->pok, 16};
        a->q.in.issue_org_signet.encryption_id = (struct keyd_octets){org->enc, 16};
        a->q.in.issue_org_signet.sok_ids = soks;
        a->q.in.issue_org_signet.n_sok_ids = 1;
        break;
    case KD_OP_SignTlsRecord:
        a->q.in.sign_tls_record.pok_id = (struct keyd_octets){org->pok, 16};
        break;
    case KD_OP_SetQuorum:
        a->q.in = matrix_enrolment().in;
        break;
    default: /* as it is */
        break;
    }
}

/* --- one of each --- */

static bool
issue(struct matrix_ask *a, uint64_t serial)
{
    struct person_keys own;

    person_keys("matrix", serial, 0, &own);
    if (person_ssr(&own, NULL, &a->ssr) != KD_OK)
        return false;
    snprintf(a->address, sizeof a->address, "m%llu@example.com",
             (unsigned long long)serial);
    a->q.in.issue_user_signet.address = KEYD_STR(a->address);
    a->q.in.issue_user_signet.ssr = (struct keyd_octets){a->ssr.p, a->ssr.n};
    a->q.in.issue_user_signet.account_mode = KEYD_ACCOUNT_TRUSTFUL;
    return true;
}

/* The daemon's credential, or for a new slot other octets. */
static void
slot(struct matrix_ask *a, const uint8_t *credential, bool is_new)
{
    a->q.in.slot.kind = KEYD_SLOT_CREDENTIAL;
    memcpy(a->secret, credential, DAEMON_CREDENTIAL_SIZE);
    a->secret[0] ^= (char)is_new;
    a->q.in.slot.secret = (struct keyd_secret){a->secret, DAEMON_CREDENTIAL_SIZE};
}

static const struct keyd_octets no_sok[1];

static void
org_signet(struct matrix_ask *a)
{
    a->q.in.issue_org_signet.domain = COM;
    a->q.in.issue_org_signet.pok_id = (struct keyd_octets){a->id, sizeof a->id};
    a->q.in.issue_org_signet.encryption_id = (struct keyd_octets){a->id, sizeof a->id};
    a->q.in.issue_org_signet.sok_ids = no_sok;
}

static void
key_file(struct matrix_ask *a)
{
    a->q.in.import_key.domain = COM;
    a->q.in.import_key.signing_role = KEYD_ROLE_SOK;
    a->q.in.import_key.permissions = KEYD_PERM_SIGNET;
    snprintf(a->secret, sizeof a->secret, "not a key file");
    a->q.in.import_key.key_file = (struct keyd_secret){a->secret, strlen(a->secret)};
}

/* Fewer operators than it takes. */
static void
set_quorum(struct matrix_ask *a)
{
    static const uint8_t key[32];
    static const struct keyd_operator one = {.name = {(const uint8_t *)"one", 3},
                                             .public_key = {key, sizeof key}};

    a->q.in.set_quorum.k = 2;
    a->q.in.set_quorum.operators = &one;
    a->q.in.set_quorum.n_operators = 1;
}

/* Of the key store. */
static bool
ask_of_keys(struct matrix_ask *a, enum kd_op op, const struct matrix_about *about)
{
    switch ((unsigned)op) {
    case KD_OP_PublicKeys:
    case KD_OP_Seal:
        return true;
    case KD_OP_TokenInit:
    case KD_OP_Unseal:
    case KD_OP_AddUnsealSlot:
        slot(a, about->d->credential, op == KD_OP_AddUnsealSlot);
        return true;
    case KD_OP_GenerateKey:
        a->q.in.generate_key.role = KEYD_ROLE_SOK;
        a->q.in.generate_key.algorithm = KEYD_ED25519;
        a->q.in.generate_key.domain = COM;
        a->q.in.generate_key.permissions = KEYD_PERM_CERTIFICATE;
        return true;
    case KD_OP_RetireKey:
        a->q.in.retire_key.id = (struct keyd_octets){a->id, sizeof a->id};
        return true;
    case KD_OP_ImportKey:
        key_file(a);
        return true;
    case KD_OP_TokenList:
        return true;
    case KD_OP_TokenDoctor:
    case KD_OP_TokenAdopt:
        a->q.in.token.name = KEYD_STR("not-there");
        return true;
    case KD_OP_AttachKey:
        a->q.in.attach_key.id = (struct keyd_octets){a->id, sizeof a->id};
        a->q.in.attach_key.token = KEYD_STR("not-there");
        return true;
    case KD_OP_SignTlsRecord:
        a->q.in.sign_tls_record.domain = COM;
        a->q.in.sign_tls_record.pok_id = (struct keyd_octets){a->id, sizeof a->id};
        a->q.in.sign_tls_record.certificate =
            (struct keyd_octets){a->certificate, ask_certificate(a->certificate)};
        return true;
    case KD_OP_IssueOrgSignet:
        org_signet(a);
        return true;
    default:
        return false;
    }
}

/* Of the service, its log and who runs it. */
static bool
ask_of_service(struct matrix_ask *a, enum kd_op op, const struct matrix_about *about)
{
    switch ((unsigned)op) {
    case KD_OP_Status:
    case KD_OP_AuditHead:
    case KD_OP_Reload:
        return true;
    case KD_OP_Drain: /* what has begun or is cancelled without changes nothing */
        a->q.in.drain.action =
            about->state == DRAINING ? KEYD_DRAIN_BEGIN : KEYD_DRAIN_CANCEL;
        return true;
    case KD_OP_StopPrincipal:
        a->q.in.stop_principal.action = KEYD_STOP_STOP;
        a->q.in.stop_principal.name = KEYD_STR("not-there");
        return true;
    case KD_OP_AuditRead:
        a->q.in.audit_read.from_seq = 1;
        return true;
    case KD_OP_ApprovalList:
        return true;
    case KD_OP_SetQuorum:
        set_quorum(a);
        return true;
    case KD_OP_ApprovalShow:
        a->q.in.approval_show.id = (struct keyd_octets){a->id, sizeof a->id};
        return true;
    case KD_OP_ApprovalSign:
        a->q.in.approval_sign.id = (struct keyd_octets){a->id, sizeof a->id};
        a->q.in.approval_sign.operator_name = KEYD_STR("nobody");
        a->q.in.approval_sign.signature = (struct keyd_octets){a->fp, sizeof a->fp};
        return true;
    case KD_OP_PolicyExplain:
        a->q.in.policy_explain.principal = KEYD_STR("nobody");
        return true;
    case KD_OP_RegistryBackup: /* of one that there is none of */
        a->q.in.registry_backup.name = KEYD_STR("matrix");
        a->q.in.registry_backup.poll = true;
        return true;
    case KD_OP_RegistryRestore: /* nothing is to be accepted */
        a->q.in.registry_restore.record_hash =
            (struct keyd_octets){nothing, sizeof nothing};
        return true;
    case KD_OP_AuditDrop: /* no checkpoint ends there */
        a->q.in.audit_drop.through_seq = 1;
        a->q.in.audit_drop.segment_hash = (struct keyd_octets){nothing, sizeof nothing};
        return true;
    default:
        return ask_of_keys(a, op, about);
    }
}

static void
ask_inbound(struct matrix_ask *a)
{
    const struct keyd_octets fp = {a->fp, sizeof a->fp};

    a->q.in.inbound.origin = KEYD_STR("example.org");
    a->q.in.inbound.origin_fp = fp;
    a->q.in.inbound.domain = COM;
    a->q.in.inbound.domain_fp = fp;
    a->q.in.inbound.origin_signet = KEYD_STR("not a signet");
    a->q.in.inbound.message = KEYD_STR("not a message");
}

static bool
ask_of_mail(struct matrix_ask *a, enum kd_op op, const struct matrix_about *about)
{
    switch ((unsigned)op) {
    case KD_OP_SignOutbound:
        a->q.in.sign_outbound.account = KEYD_STR("nobody@example.com");
        a->q.in.sign_outbound.destination = KEYD_STR("example.org");
        a->q.in.sign_outbound.message = KEYD_STR("not a message");
        return true;
    case KD_OP_MakeBounce:
        a->q.in.inbound.part = KEYD_RETURNED_METADATA;
        a->q.in.inbound.klass = 5;
        ask_inbound(a);
        return true;
    case KD_OP_OpenEnvelope:
    case KD_OP_OpenBounce:
        ask_inbound(a);
        return true;
    case KD_OP_SealNaked:
        a->q.in.seal_naked.recipient = KEYD_STR("nobody@example.com");
        a->q.in.seal_naked.message = KEYD_STR("not mail");
        return true;
    default:
        return ask_of_service(a, op, about);
    }
}

static bool
ask_for(struct matrix_ask *a, enum kd_op op, const struct matrix_about *about)
{
    switch ((unsigned)op) {
    case KD_OP_LookupSignet:
        a->q.in.lookup_signet.name = COM;
        return true;
    case KD_OP_LookupHistory:
        a->q.in.lookup_history.address = KEYD_STR("nobody@example.com");
        return true;
    case KD_OP_VerifyCurrent:
        a->q.in.verify_current.name = COM;
        a->q.in.verify_current.fingerprint = (struct keyd_octets){a->fp, sizeof a->fp};
        return true;
    case KD_OP_IssueUserSignet:
        return issue(a, about->serial + op);
    case KD_OP_FreezeAddress:
        a->q.in.freeze_address.address = KEYD_STR("frozen@example.com");
        a->q.in.freeze_address.action = KEYD_ACCOUNT_FREEZE;
        a->q.in.freeze_address.reason = KEYD_FREEZE_OTHER;
        return true;
    case KD_OP_ResetAddress:
        a->q.in.reset_address.address = KEYD_STR("nobody@example.com");
        a->q.in.reset_address.action = KEYD_RESET_REQUEST;
        return true;
    default:
        return ask_of_mail(a, op, about);
    }
}

bool
matrix_ask(struct matrix_ask *a, enum kd_op op, const struct matrix_about *about,
           const struct caller *c)
{
    *a = (struct matrix_ask){.q.op = (enum keyd_op)op};
    kd_buf_init(&a->ssr, 4096);
    if (!ask_for(a, op, about))
        return false;
    if (about->with_quorum && marked[op].is_marked && strcmp(c->listener, "admin") == 0)
        well(a, op, about);
    return true;
}

void
matrix_ask_clear(struct matrix_ask *a)
{
    kd_buf_free(&a->ssr);
}
