/* No answer about a message has room for a key of it (T-OP-14, D-086): every field of
 * the answers of SignOutbound, OpenEnvelope, OpenBounce, MakeBounce and SealNaked that
 * can hold octets stands here with its size and with what it holds. That is asked of
 * the descriptors of keyd.proto, and of the messages by which the vault answers a gate.
 * A field that is added, renamed or widened fails here, until somebody says what it is
 * and why no secret can be in it. */
#include "test.h"

#include <dime/kek.h>
#include <keyd/job/job.h>
#include <keyd/rpc/rpc_pb.h>

#include <string.h>

#define LEN(a) (sizeof(a) / sizeof((a)[0]))

enum {
    /* The least of a secret that is worth having: half of a shared secret, of the key
     * of a KEK or of a chunk's. All numbers of an answer together hold less. */
    SECRET_BITS = DIME_AES_KEY_SIZE * 8 / 2,
};

/* What may be in an answer, and why that is none of a message's secrets. */
enum what {
    SIGNATURE,   /* made by the vault over an object it has read; public, or encrypted
                  * as the payload of any chunk of the message */
    FINGERPRINT, /* SHA-512 of a signet, read as 86 characters of base64 from a text
                  * whose form was checked */
    MESSAGE_ID,  /* SHA-512 that a signed report names; read in the same way */
    ADDRESS,     /* printable, in the form of an address, from such a text */
    OBJECT,      /* a whole bounce: returned chunks as they came, still encrypted, and
                  * what the vault signed and encrypted to the origin */
    WORD,        /* of a list that is compiled in: lower-case letters, digits, "-" */
    HANDLE,      /* 16 random octets that name an object or a request */
    BODY,        /* of a message between processes: one of those below */
};

static const struct {
    size_t least, most;
} sizes[] = {
    [SIGNATURE] = {DIME_SIG_SIZE, DIME_SIG_SIZE},
    [FINGERPRINT] = {64, 64},
    [MESSAGE_ID] = {64, 64},
    [ADDRESS] = {0, 254},
    [OBJECT] = {0, KD_RPC_INLINE_MAX},
    [WORD] = {0, 48},
    [HANDLE] = {16, 16},
    [BODY] = {0, KD_JOB_BODY_MAX},
};

struct entry {
    const char *message, *field;
    enum what what;
};

/* --- what the protocol has --- */

static const struct entry answers[] = {
    {"Response", "detail", WORD},
    {"Response", "object_id", HANDLE},
    {"Response", "approval_id", HANDLE},
    {"SignOutboundResult", "metadata_bounce", SIGNATURE},
    {"SignOutboundResult", "display_bounce", SIGNATURE},
    {"SignOutboundResult", "organization", SIGNATURE},
    {"SignOutboundResult", "destination_fp", FINGERPRINT},
    {"OpenEnvelopeResult", "recipient", ADDRESS},
    {"OpenEnvelopeResult", "recipient_fp", FINGERPRINT},
    {"OpenBounceResult", "author", ADDRESS},
    {"OpenBounceResult", "author_fp", FINGERPRINT},
    {"OpenBounceResult", "message_id", MESSAGE_ID},
    {"MakeBounceResult", "bounce", OBJECT},
    {"SealNakedResult", "signature", SIGNATURE},
};

static const ProtobufCMessageDescriptor *const types[] = {
    &keyd__v1__sign_outbound_result__descriptor,
    &keyd__v1__open_envelope_result__descriptor,
    &keyd__v1__open_bounce_result__descriptor,
    &keyd__v1__make_bounce_result__descriptor,
    &keyd__v1__seal_naked_result__descriptor,
};

static const struct entry *
find(const struct entry *list, size_t n, const char *message, const char *field)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(list[i].message, message) == 0 && strcmp(list[i].field, field) == 0)
            return &list[i];
    return NULL;
}

static unsigned
bits_of(uint64_t most)
{
    unsigned n = 0;

    for (; most != 0; most >>= 1)
        n++;
    return n;
}

static uint64_t
greatest(const ProtobufCEnumDescriptor *e)
{
    int most = 0;

    for (unsigned i = 0; i < e->n_values; i++) {
        assert_true(e->values[i].value >= 0);
        most = e->values[i].value > most ? e->values[i].value : most;
    }
    return (uint64_t)most;
}

static bool
is_listed(const char *message, const char *field, uint64_t lo, uint64_t hi)
{
    const struct entry *e = find(answers, LEN(answers), message, field);

    return e != NULL && lo >= sizes[e->what].least && hi <= sizes[e->what].most;
}

/* Bits that the field holds if it is a number; 0 for octets that are on the list.
 * SECRET_BITS for whatever else there is. */
static unsigned
room_in(const ProtobufCMessageDescriptor *type, unsigned i)
{
    const ProtobufCFieldDescriptor *f = &type->fields[i];
    const struct kd_rpc_limit *l = &kd_rpc_limits(type)[i];

    assert_string_equal(l->field, f->name);
    if (f->label == PROTOBUF_C_LABEL_REPEATED || l->count != 0)
        return SECRET_BITS;
    switch (l->kind) {
    case KD_RPC_UINT:
        return bits_of(l->hi);
    case KD_RPC_BOOL:
        return 1;
    case KD_RPC_ENUM:
        return bits_of(greatest(f->descriptor));
    case KD_RPC_BYTES:
    case KD_RPC_OPT:
        return f->type == PROTOBUF_C_TYPE_BYTES &&
                       is_listed(type->short_name, f->name, l->lo, l->hi)
                   ? 0
                   : SECRET_BITS;
    case KD_RPC_SUB: /* nothing stands deeper in these answers */
    case KD_RPC_CASE:
        break;
    }
    return SECRET_BITS;
}

/* The first field by which a secret could leave, or NULL. */
static const char *
way_out(const ProtobufCMessageDescriptor *type)
{
    unsigned bits = 0;

    assert_non_null(kd_rpc_limits(type));
    for (unsigned i = 0; i < type->n_fields; i++) {
        bits += room_in(type, i);
        if (bits >= SECRET_BITS)
            return type->fields[i].name;
    }
    return NULL;
}

/* T-OP-14 */
static void
T_OP_14_no_field_of_an_answer_can_hold_a_secret_of_a_message(void **state)
{
    (void)state;
    for (size_t i = 0; i < LEN(types); i++) {
        const char *field = way_out(types[i]);
        if (field != NULL)
            fail_msg("%s.%s is not known to be free of secrets", types[i]->short_name,
                     field);
    }
}

/* The answers looked at are those that the operations have: by the numbers of the
 * oneof, whatever the types are called. */
static void
all_operations_on_messages_are_looked_at(void **state)
{
    static const unsigned ops[] = {19, 20, 21, 22, 23};
    const ProtobufCMessageDescriptor *response = &keyd__v1__response__descriptor;

    (void)state;
    assert_int_equal(LEN(ops), LEN(types));
    for (size_t i = 0; i < LEN(ops); i++) {
        const ProtobufCFieldDescriptor *f =
            protobuf_c_message_descriptor_get_field(response, kd_rpc_case(ops[i]));
        assert_non_null(f);
        assert_ptr_equal(f->descriptor, types[i]);
    }
}

/* What stands around every result. */
static void
T_OP_14_nor_can_what_stands_around_the_answer(void **state)
{
    const ProtobufCMessageDescriptor *type = &keyd__v1__response__descriptor;
    const struct kd_rpc_limit *l = kd_rpc_limits(type);
    unsigned bits = 0;

    (void)state;
    for (unsigned i = 0; i < type->n_fields; i++) {
        if (l[i].kind == KD_RPC_CASE)
            continue;
        /* id is the client's own */
        bits += strcmp(type->fields[i].name, "id") == 0 ? 0 : room_in(type, i);
        if (bits >= SECRET_BITS)
            fail_msg("Response.%s", type->fields[i].name);
    }
}

/* The word is one: octets as a key has them are not sent. */
static void
a_detail_of_other_octets_is_not_sent(void **state)
{
    uint8_t octets[DIME_AES_KEY_SIZE];
    struct kd_rpc_fault fault;
    Keyd__V1__Response m = KEYD__V1__RESPONSE__INIT;

    (void)state;
    m.id = 1;
    m.status = KEYD__V1__STATUS__STATUS_INVALID;
    memset(octets, 'a', sizeof octets);
    m.detail = kd_rpc_data(kd_slice(octets, sizeof octets));
    assert_int_equal(kd_rpc_check_response(&m, false, &fault), KD_OK);
    for (unsigned c = 0; c < 256; c++) {
        bool is_of_words = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-';
        octets[sizeof octets - 1] = (uint8_t)c;
        assert_int_equal(kd_rpc_check_response(&m, false, &fault),
                         is_of_words ? KD_OK : KD_INVALID);
    }
}

/* Only a bounce comes as an object: of the others there is no descriptor that could be
 * anything. */
static void
only_MakeBounce_answers_with_an_object(void **state)
{
    (void)state;
    for (unsigned op = 19; op <= 23; op++)
        assert_int_equal(kd_rpc_op(kd_rpc_case(op))->fd_out,
                         op == 22 ? KD_RPC_FD_MAY : KD_RPC_FD_NO);
}

/* What is on the list is there: a line that nothing needs is a way that stands open. */
static void
nothing_is_listed_that_no_answer_has(void **state)
{
    (void)state;
    for (size_t i = 0; i < LEN(answers); i++) {
        bool is_there = false;
        for (size_t t = 0; t < LEN(types); t++)
            is_there |= strcmp(types[t]->short_name, answers[i].message) == 0 &&
                        protobuf_c_message_descriptor_get_field_by_name(
                            types[t], answers[i].field) != NULL;
        is_there |= strcmp(answers[i].message, "Response") == 0 &&
                    protobuf_c_message_descriptor_get_field_by_name(
                        &keyd__v1__response__descriptor, answers[i].field) != NULL;
        if (!is_there)
            fail_msg("%s.%s", answers[i].message, answers[i].field);
        for (size_t j = 0; j < i; j++)
            assert_false(strcmp(answers[i].message, answers[j].message) == 0 &&
                         strcmp(answers[i].field, answers[j].field) == 0);
    }
}

/* The test sees what it should: answers of other operations, which nobody has listed.
 */
static void
other_answers_have_ways_out_and_they_are_found(void **state)
{
    static const struct {
        const ProtobufCMessageDescriptor *type;
        const char *field;
    } others[] = {
        {&keyd__v1__issued_signet__descriptor, "signet"},        /* octets */
        {&keyd__v1__fetch_part_result__descriptor, "data"},      /* octets */
        {&keyd__v1__lookup_history_result__descriptor, "cores"}, /* repeated octets */
        {&keyd__v1__key_result__descriptor, "key"},              /* a message */
        {&keyd__v1__reset_address_result__descriptor, "resets"}, /* repeated messages */
        {&keyd__v1__policy_quota__descriptor, "in_flight"},      /* numbers, together */
        {&keyd__v1__response__descriptor, "hello"},              /* a oneof */
    };

    (void)state;
    for (size_t i = 0; i < LEN(others); i++) {
        const char *field = way_out(others[i].type);
        assert_non_null(field);
        assert_string_equal(field, others[i].field);
    }
    /* and a field that is listed, but is wider than what it is said to hold */
    assert_true(is_listed("SealNakedResult", "signature", 64, 64));
    assert_false(is_listed("SealNakedResult", "signature", 64, 96));
    assert_false(is_listed("SealNakedResult", "signature", 0, 64));
    assert_false(is_listed("SealNakedResult", "key", 64, 64));
    assert_false(is_listed("OpenEnvelopeResult", "recipient", 0, 255));
}

/* --- what the vault tells a gate --- */

/* A row for each message, which alone has a name of a message, and one for each of its
 * fields behind it. */
struct job_row {
    const char *message, *field;
    size_t octets; /* the most */
    bool is_number;
};

#define U8(name) {NULL, #name, 1, true},
#define U16(name) {NULL, #name, 2, true},
#define U32(name) {NULL, #name, 4, true},
#define U64(name) {NULL, #name, 8, true},
#define FIX(name, n) {NULL, #name, n, false},
#define VAR(name, n) {NULL, #name, n, false},
#define KD_MESSAGE(name, fields) {#name, NULL, 0, false}, fields
static const struct job_row job_rows[] = {
#include <keyd/job/messages.def>
};
#undef KD_MESSAGE

static const struct entry told[] = {
    {"done", "body", BODY},
    {"sign_outbound_done", "metadata", SIGNATURE},
    {"sign_outbound_done", "display", SIGNATURE},
    {"sign_outbound_done", "organization", SIGNATURE},
    {"sign_outbound_done", "destination_fp", FINGERPRINT},
    {"open_envelope_done", "recipient", ADDRESS},
    {"open_envelope_done", "recipient_fp", FINGERPRINT},
    {"open_bounce_done", "author", ADDRESS},
    {"open_bounce_done", "author_fp", FINGERPRINT},
    {"open_bounce_done", "message", MESSAGE_ID},
    {"make_bounce_done", "bounce", OBJECT},
    {"seal_naked_done", "signature", SIGNATURE},
};

/* Of a message of the channel, the first field by which a secret could leave: the gate
 * is whom a front-end talks to, and it holds none either. */
static const char *
way_out_of_vault(const char *message)
{
    size_t bits = 0, i = 0;

    while (i < LEN(job_rows) &&
           (job_rows[i].message == NULL || strcmp(job_rows[i].message, message) != 0))
        i++;
    assert_true(i < LEN(job_rows));
    for (i++; i < LEN(job_rows) && job_rows[i].message == NULL; i++) {
        const struct job_row *f = &job_rows[i];
        const struct entry *e = find(told, LEN(told), message, f->field);
        if (f->is_number)
            bits += f->octets * 8;
        else if (e == NULL || f->octets > sizes[e->what].most)
            return f->field;
        if (bits >= SECRET_BITS)
            return f->field;
    }
    return NULL;
}

/* T-OP-14 */
static void
T_OP_14_nor_does_the_vault_tell_its_gate_any(void **state)
{
    (void)state;
    for (size_t i = 0; i < LEN(told); i++) {
        const char *field = way_out_of_vault(told[i].message);
        if (field != NULL)
            fail_msg("%s.%s", told[i].message, field);
    }
    /* of others, what is not listed is found */
    assert_string_equal(way_out_of_vault("inbound_job"), "origin");
    assert_string_equal(way_out_of_vault("reset_done"), "resets");
    assert_string_equal(way_out_of_vault("reset_line"), "address");
}

int
main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(T_OP_14_no_field_of_an_answer_can_hold_a_secret_of_a_message),
        cmocka_unit_test(all_operations_on_messages_are_looked_at),
        cmocka_unit_test(T_OP_14_nor_can_what_stands_around_the_answer),
        cmocka_unit_test(a_detail_of_other_octets_is_not_sent),
        cmocka_unit_test(only_MakeBounce_answers_with_an_object),
        cmocka_unit_test(nothing_is_listed_that_no_answer_has),
        cmocka_unit_test(other_answers_have_ways_out_and_they_are_found),
        cmocka_unit_test(T_OP_14_nor_does_the_vault_tell_its_gate_any),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
