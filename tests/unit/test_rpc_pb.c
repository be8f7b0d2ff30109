/* rpc_pb: what decodes is canonical, bounded and within every limit of the table. */
#include "../../proto/src/rpc_check.h"
#include "rpc_sample.h"

#include <malloc.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
/* cmocka.h wants the four above first */
#include <cmocka.h>

#define ARENA_TEST ((size_t)32 << 20)

static struct kd_arena build, decoded;
static struct kd_buf wire;

static int
start(void **state)
{
    (void)state;
    kd_arena_init(&build);
    kd_arena_reset(&build, ARENA_TEST);
    kd_arena_init(&decoded);
    kd_buf_init(&wire, 4 << 20);
    return 0;
}

static int
stop(void **state)
{
    (void)state;
    kd_arena_free(&build);
    kd_arena_free(&decoded);
    kd_buf_free(&wire);
    return 0;
}

static struct kd_slice
encode(const ProtobufCMessage *m)
{
    kd_buf_reset(&wire);
    assert_int_equal(kd_rpc_encode(m, &wire), KD_OK);
    return kd_buf_slice(&wire);
}

static kd_err
decode(bool request, struct kd_slice octets, bool has_fd, struct kd_rpc_fault *fault)
{
    const Keyd__V1__Request *q;
    const Keyd__V1__Response *r;

    return request ? kd_rpc_decode_request(&decoded, octets, has_fd, &q, fault)
                   : kd_rpc_decode_response(&decoded, octets, has_fd, &r, fault);
}

/* ---- the schema */

static enum kd_rpc_kind
kind_by_type(const ProtobufCFieldDescriptor *f)
{
    if ((f->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) != 0)
        return KD_RPC_CASE;
    switch ((int)f->type) {
    case PROTOBUF_C_TYPE_UINT32:
    case PROTOBUF_C_TYPE_UINT64:
        return KD_RPC_UINT;
    case PROTOBUF_C_TYPE_BOOL:
        return KD_RPC_BOOL;
    case PROTOBUF_C_TYPE_ENUM:
        return KD_RPC_ENUM;
    case PROTOBUF_C_TYPE_BYTES:
        return KD_RPC_BYTES;
    case PROTOBUF_C_TYPE_MESSAGE:
        return KD_RPC_SUB;
    default:
        fail_msg("%s: strings, floats, signed and fixed integers are not used",
                 f->name);
        return KD_RPC_CASE;
    }
}

static void
check_line(const ProtobufCFieldDescriptor *f, const struct kd_rpc_limit *l)
{
    enum kd_rpc_kind kind = kind_by_type(f);

    assert_non_null(l->field);
    assert_string_equal(l->field, f->name);
    if (kind == KD_RPC_BYTES)
        assert_true(l->kind == KD_RPC_BYTES || l->kind == KD_RPC_OPT);
    else
        assert_int_equal(l->kind, kind);
    assert_int_equal(l->count > 0, f->label == PROTOBUF_C_LABEL_REPEATED);
    /* Elements that cost no octets, or fields with a presence of their own, have no
     * place in the protocol. */
    assert_true(f->label == PROTOBUF_C_LABEL_REPEATED ||
                f->label == PROTOBUF_C_LABEL_NONE);
    if (f->label == PROTOBUF_C_LABEL_REPEATED)
        assert_true(kind == KD_RPC_BYTES || kind == KD_RPC_SUB);
    if (kind == KD_RPC_UINT || kind == KD_RPC_BYTES)
        assert_true(l->lo <= l->hi);
    if (f->type == PROTOBUF_C_TYPE_UINT32)
        assert_true(l->hi <= UINT32_MAX);
    if (l->kind == KD_RPC_OPT)
        assert_true(l->lo > 0 && l->hi > 0);
}

static void
every_field_of_every_type_has_its_line(void **state)
{
    const ProtobufCMessageDescriptor *type;

    (void)state;
    for (size_t t = 0; (type = kd_rpc_type(t)) != NULL; t++) {
        const struct kd_rpc_limit *limits = kd_rpc_limits(type);
        unsigned n = 0, oneof_from = 0;
        for (; n < type->n_fields; n++) {
            const ProtobufCFieldDescriptor *f = &type->fields[n];
            check_line(f, &limits[n]);
            if ((f->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) != 0 && oneof_from == 0)
                oneof_from = f->id;
            /* Encoders that write a oneof last must give the same octets. */
            assert_true((oneof_from != 0) ==
                        ((f->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) != 0));
        }
        const struct kd_rpc_limit *after = &limits[n];
        if (kd_rpc_type(t + 1) != NULL)
            assert_null(after->field); /* the next type begins */
    }
}

enum { MAX_DEPTH = 4 };

static void
walk_types(const ProtobufCMessageDescriptor *type,
           const ProtobufCMessageDescriptor *const *path, size_t depth, bool *seen)
{
    const ProtobufCMessageDescriptor *here[MAX_DEPTH + 1];
    size_t at = 0;

    assert_true(depth < MAX_DEPTH); /* and so the walker's stack is bounded */
    for (size_t i = 0; i < depth; i++) {
        here[i] = path[i];
        if (path[i] == type)
            fail_msg("%s contains itself", type->name);
    }
    here[depth] = type;
    while (kd_rpc_type(at) != type)
        assert_non_null(kd_rpc_type(at++));
    seen[at] = true;
    for (unsigned i = 0; i < type->n_fields; i++)
        if (type->fields[i].type == PROTOBUF_C_TYPE_MESSAGE)
            walk_types(type->fields[i].descriptor, here, depth + 1, seen);
}

static void
no_type_contains_itself_and_all_are_reached(void **state)
{
    bool seen[256] = {false};

    (void)state;
    walk_types(&keyd__v1__request__descriptor, NULL, 0, seen);
    walk_types(&keyd__v1__response__descriptor, NULL, 0, seen);
    for (size_t t = 0; kd_rpc_type(t) != NULL; t++)
        if (!seen[t])
            fail_msg("%s is in the table and nowhere else", kd_rpc_type(t)->name);
}

static void
every_operation_has_its_line(void **state)
{
    const ProtobufCMessageDescriptor *types[] = {&keyd__v1__request__descriptor,
                                                 &keyd__v1__response__descriptor};

    (void)state;
    for (size_t t = 0; t < 2; t++)
        for (unsigned i = 0; i < types[t]->n_fields; i++)
            if ((types[t]->fields[i].flags & PROTOBUF_C_FIELD_FLAG_ONEOF) != 0)
                assert_non_null(kd_rpc_op(types[t]->fields[i].id));
    assert_null(kd_rpc_op(0));
    assert_null(kd_rpc_op(100));
    assert_null(kd_rpc_op(1));
}

/* ---- round trips and limits */

static void
every_operation_survives_the_wire(void **state)
{
    struct kd_rpc_fault fault;
    struct kd_buf again;

    (void)state;
    kd_buf_init(&again, 1 << 20);
    for (size_t i = 0; sample_case(i) != 0; i++) {
        unsigned op = sample_case(i);
        bool has_fd = sample_request_has_fd(op);
        const Keyd__V1__Request *q = NULL;
        const Keyd__V1__Response *r = NULL;

        struct kd_slice s = encode(&sample_request(&build, op)->base);
        assert_int_equal(kd_rpc_decode_request(&decoded, s, has_fd, &q, &fault), KD_OK);
        assert_int_equal(q->op_case, op);
        kd_buf_reset(&again);
        assert_int_equal(kd_rpc_encode(&q->base, &again), KD_OK);
        assert_true(kd_slice_eq(kd_buf_slice(&again), s));

        s = encode(&sample_response(&build, op)->base);
        assert_int_equal(kd_rpc_decode_response(&decoded, s, false, &r, &fault), KD_OK);
        assert_int_equal(r->result_case, op);
        kd_buf_reset(&again);
        assert_int_equal(kd_rpc_encode(&r->base, &again), KD_OK);
        assert_true(kd_slice_eq(kd_buf_slice(&again), s));
    }
    kd_buf_free(&again);
}

/* One field of one message within a whole request or response. */
struct place {
    bool request;
    bool has_fd;
    const ProtobufCMessage *whole;
    ProtobufCMessage *m;
    const ProtobufCFieldDescriptor *f;
    const struct kd_rpc_limit *l;
    size_t *n_tried;
};

static void *
place_at(const struct place *p)
{
    return (uint8_t *)p->m + p->f->offset;
}

static void
expect_within(const struct place *p)
{
    struct kd_rpc_fault fault = {0};

    kd_err err = kd_rpc_check_limits(p->whole, &fault);
    if (err != KD_OK)
        fail_msg("%s.%s at its limit: %s", p->m->descriptor->short_name, p->f->name,
                 kd_rpc_reason_text(fault.reason));
    (*p->n_tried)++;
}

/* Refused for this very field and reason, through the real decoder. */
static void
expect_refused(const struct place *p, enum kd_rpc_reason reason)
{
    struct kd_rpc_fault fault;

    if (decode(p->request, encode(p->whole), p->has_fd, &fault) != KD_INVALID ||
        fault.reason != reason || fault.field == NULL ||
        strcmp(fault.field, p->f->name) != 0 ||
        strcmp(fault.message, p->m->descriptor->short_name) != 0)
        fail_msg("%s.%s beyond its limit: %s of %s.%s", p->m->descriptor->short_name,
                 p->f->name, kd_rpc_reason_text(fault.reason),
                 fault.message == NULL ? "-" : fault.message,
                 fault.field == NULL ? "-" : fault.field);
    (*p->n_tried)++;
}

static void
set_uint(const struct place *p, uint64_t v)
{
    if (p->f->type == PROTOBUF_C_TYPE_UINT64)
        *(uint64_t *)place_at(p) = v;
    else
        *(uint32_t *)place_at(p) = (uint32_t)v;
}

static void
try_uint(const struct place *p)
{
    uint64_t top = p->f->type == PROTOBUF_C_TYPE_UINT64 ? UINT64_MAX : UINT32_MAX;

    set_uint(p, p->l->hi);
    expect_within(p);
    if (p->l->hi < top) {
        set_uint(p, p->l->hi + 1);
        expect_refused(p, KD_RPC_FIELD_RANGE);
        set_uint(p, top);
        expect_refused(p, KD_RPC_FIELD_RANGE);
    }
    if (p->l->lo > 0) {
        set_uint(p, p->l->lo - 1);
        expect_refused(p, KD_RPC_FIELD_RANGE);
    }
    set_uint(p, p->l->lo);
}

static void
try_enum(const struct place *p)
{
    const ProtobufCEnumDescriptor *type = p->f->descriptor;
    int *at = place_at(p);
    int was = *at;

    for (unsigned i = 0; i < type->n_values; i++) {
        *at = type->values[i].value;
        if (*at != 0 || p->l->lo == 0)
            expect_within(p);
        else
            expect_refused(p, KD_RPC_FIELD_MISSING);
    }
    *at = type->values[type->n_values - 1].value + 1;
    expect_refused(p, KD_RPC_FIELD_VALUE);
    *at = -1;
    expect_refused(p, KD_RPC_FIELD_VALUE);
    *at = was;
}

static void
try_bytes_at(const struct place *p, ProtobufCBinaryData *at)
{
    const ProtobufCBinaryData was = *at;

    *at = sample_octets(&build, (size_t)p->l->hi);
    expect_within(p);
    *at = sample_octets(&build, (size_t)p->l->hi + 1);
    expect_refused(p, KD_RPC_FIELD_SIZE);
    *at = (ProtobufCBinaryData){0, NULL};
    if (p->l->kind == KD_RPC_OPT || p->l->lo == 0)
        expect_within(p);
    else
        expect_refused(p, KD_RPC_FIELD_MISSING);
    if (p->l->lo > 1) {
        *at = sample_octets(&build, (size_t)p->l->lo - 1);
        expect_refused(p, KD_RPC_FIELD_SIZE);
    }
    *at = was;
}

static void
try_count(const struct place *p)
{
    size_t *n = (void *)((uint8_t *)p->m + p->f->quantifier_offset);
    void **values = place_at(p);
    const size_t n_was = *n;
    void *const was = *values;
    size_t size = p->f->type == PROTOBUF_C_TYPE_BYTES ? sizeof(ProtobufCBinaryData)
                                                      : sizeof(ProtobufCMessage *);

    *values = kd_arena_alloc(&build, (p->l->count + 1) * size);
    for (size_t i = 0; i <= p->l->count; i++)
        memcpy((uint8_t *)*values + i * size, was, size);
    *n = p->l->count;
    expect_within(p);
    *n = p->l->count + 1;
    expect_refused(p, KD_RPC_TOO_MANY);
    *n = n_was;
    *values = was;
}

static void
try_field(const struct place *p)
{
    if (p->l->count > 0)
        try_count(p);
    if (p->f->type == PROTOBUF_C_TYPE_BYTES)
        try_bytes_at(p, p->l->count > 0 ? *(void **)place_at(p) : place_at(p));
    else if (p->f->type == PROTOBUF_C_TYPE_ENUM)
        try_enum(p);
    else if (p->l->kind == KD_RPC_UINT)
        try_uint(p);
}

static void
try_message(const struct place *outer, ProtobufCMessage *m)
{
    const struct kd_rpc_limit *limits = kd_rpc_limits(m->descriptor);

    for (unsigned i = 0; i < m->descriptor->n_fields; i++) {
        struct place p = *outer;
        p.m = m;
        p.f = &m->descriptor->fields[i];
        p.l = &limits[i];
        if (p.l->kind == KD_RPC_CASE &&
            *(uint32_t *)(void *)((uint8_t *)m + p.f->quantifier_offset) != p.f->id)
            continue;
        try_field(&p);
        if (p.f->type == PROTOBUF_C_TYPE_MESSAGE)
            try_message(&p, p.l->count > 0 ? **(ProtobufCMessage ***)place_at(&p)
                                           : *(ProtobufCMessage **)place_at(&p));
    }
}

static void
at_the_limit_is_taken_and_one_more_refused(void **state)
{
    size_t n_tried = 0;

    (void)state;
    for (size_t i = 0; sample_case(i) != 0; i++) {
        unsigned op = sample_case(i);
        struct place p = {.n_tried = &n_tried};
        ProtobufCMessage *m;

        kd_arena_reset(&build, ARENA_TEST);
        p.request = true;
        p.has_fd = sample_request_has_fd(op);
        p.whole = m = &sample_request(&build, op)->base;
        try_message(&p, m);
        p.request = p.has_fd = false;
        p.whole = m = &sample_response(&build, op)->base;
        try_message(&p, m);
    }
    assert_true(n_tried > 800);
}

/* One that holds something or names an object in its place; the sample has the rest of
 * it that goes with that. */
static bool
has_large_result(unsigned op)
{
    return op == KEYD__V1__REQUEST__OP_LOOKUP_SIGNET ||
           op == KEYD__V1__REQUEST__OP_ISSUE_USER_SIGNET ||
           op == KEYD__V1__REQUEST__OP_ISSUE_ORG_SIGNET ||
           op == KEYD__V1__REQUEST__OP_MAKE_BOUNCE ||
           op == KEYD__V1__REQUEST__OP_OPEN_ENVELOPE;
}

/* Every field at its limit in one message, as far as a frame takes it: legitimate
 * traffic stays within the memory budget. */
static void
full_messages_fit_the_budget(void **state)
{
    struct kd_rpc_fault fault;

    (void)state;
    for (size_t i = 0; sample_case(i) != 0; i++) {
        unsigned op = sample_case(i);
        for (size_t n = 1; n <= 128; n *= 2) {
            kd_arena_reset(&build, ARENA_TEST);
            Keyd__V1__Request *q = sample_request(&build, op);
            Keyd__V1__Response *r = sample_response(&build, op);
            q->hello = (void *)sample_message(
                &build, ((ProtobufCMessage *)q->hello)->descriptor, n);
            sample_inline(&build, q, op);
            if (op == KEYD__V1__REQUEST__OP_IMPORT_KEY)
                q->import_key->encryption_key = true;
            assert_int_equal(
                decode(true, encode(&q->base), sample_request_has_fd(op), &fault),
                KD_OK);
            ProtobufCMessage *result =
                sample_message(&build, ((ProtobufCMessage *)r->hello)->descriptor, n);
            if (!has_large_result(op))
                r->hello = (void *)result;
            assert_int_equal(decode(false, encode(&r->base), false, &fault), KD_OK);
        }
    }
}

/* ---- what is not canonical */

static void
add_unknown(const struct place *p, ProtobufCMessage *m)
{
    uint8_t octet = 1;
    ProtobufCMessageUnknownField unknown = {
        .tag = 90, .wire_type = PROTOBUF_C_WIRE_TYPE_VARINT, .len = 1, .data = &octet};
    struct kd_rpc_fault fault;

    m->n_unknown_fields = 1;
    m->unknown_fields = &unknown;
    struct kd_slice s = encode(p->whole);
    m->n_unknown_fields = 0;
    m->unknown_fields = NULL;
    assert_int_equal(decode(p->request, s, p->has_fd, &fault), KD_MALFORMED);
    /* Where it is not the last of its message it breaks the order as well. */
    assert_true(fault.reason == KD_RPC_UNKNOWN_FIELD ||
                fault.reason == KD_RPC_NOT_CANONICAL);
    (*p->n_tried)++;
    for (unsigned i = 0; i < m->descriptor->n_fields; i++) {
        struct place in = *p;
        in.m = m;
        in.f = &m->descriptor->fields[i];
        const struct kd_rpc_limit *l = &kd_rpc_limits(m->descriptor)[i];
        if (in.f->type != PROTOBUF_C_TYPE_MESSAGE ||
            (l->kind == KD_RPC_CASE &&
             *(uint32_t *)(void *)((uint8_t *)m + in.f->quantifier_offset) != in.f->id))
            continue;
        add_unknown(&in, l->count > 0 ? **(ProtobufCMessage ***)place_at(&in)
                                      : *(ProtobufCMessage **)place_at(&in));
    }
}

static void
unknown_fields_are_refused_at_every_level(void **state)
{
    size_t n_tried = 0;

    (void)state;
    for (size_t i = 0; sample_case(i) != 0; i++) {
        unsigned op = sample_case(i);
        struct place p = {
            .request = true, .has_fd = sample_request_has_fd(op), .n_tried = &n_tried};
        ProtobufCMessage *m;
        p.whole = m = &sample_request(&build, op)->base;
        add_unknown(&p, m);
        p.request = p.has_fd = false;
        p.whole = m = &sample_response(&build, op)->base;
        add_unknown(&p, m);
    }
    assert_true(n_tried > 70);
}

#define OCTETS(...) {__VA_ARGS__}, sizeof((uint8_t[]){__VA_ARGS__})

static void
other_encodings_of_the_same_are_refused(void **state)
{
    /* Field 1 is the id (08), 2 the deadline (10), 4 takes_fd (20); 102 (b2 06) the
     * empty StatusRequest, 103 (ba 06) the empty PublicKeysRequest. */
    static const struct {
        const char *what;
        uint8_t octets[24];
        size_t n;
        enum kd_rpc_reason reason;
    } cases[] = {
        {"as it should be", OCTETS(0x08, 1, 0xb2, 6, 0), KD_RPC_NO_REASON},
        {"doubled scalar", OCTETS(0x08, 1, 0x08, 1, 0xb2, 6, 0), KD_RPC_NOT_CANONICAL},
        {"doubled scalar, other value", OCTETS(0x08, 9, 0x08, 1, 0xb2, 6, 0),
         KD_RPC_NOT_CANONICAL},
        {"oneof twice", OCTETS(0x08, 1, 0xb2, 6, 0, 0xb2, 6, 0), KD_RPC_NOT_CANONICAL},
        {"two members of the oneof", OCTETS(0x08, 1, 0xb2, 6, 0, 0xba, 6, 0),
         KD_RPC_NOT_CANONICAL},
        {"long varint", OCTETS(0x08, 0x81, 0, 0xb2, 6, 0), KD_RPC_NOT_CANONICAL},
        {"long tag", OCTETS(0x88, 0, 1, 0xb2, 6, 0), KD_RPC_NOT_CANONICAL},
        {"long length", OCTETS(0x08, 1, 0xb2, 6, 0x80, 0), KD_RPC_NOT_CANONICAL},
        {"default spelled out", OCTETS(0x08, 1, 0x10, 0, 0xb2, 6, 0),
         KD_RPC_NOT_CANONICAL},
        {"empty bytes spelled out", OCTETS(0x08, 1, 0x1a, 0, 0xb2, 6, 0),
         KD_RPC_NOT_CANONICAL},
        {"false spelled out", OCTETS(0x08, 1, 0x20, 0, 0xb2, 6, 0),
         KD_RPC_NOT_CANONICAL},
        {"true as 2", OCTETS(0x08, 1, 0x20, 2, 0xb2, 6, 0), KD_RPC_NOT_CANONICAL},
        {"out of order", OCTETS(0xb2, 6, 0, 0x08, 1), KD_RPC_NOT_CANONICAL},
        {"33 bits in 32",
         OCTETS(0x08, 1, 0x10, 0x81, 0x80, 0x80, 0x80, 0x10, 0xb2, 6, 0),
         KD_RPC_NOT_CANONICAL},
        {"another wire type", OCTETS(0x0d, 1, 0, 0, 0, 0xb2, 6, 0), KD_RPC_MALFORMED},
        {"bytes as a number", OCTETS(0x08, 1, 0x18, 1, 0xb2, 6, 0), KD_RPC_MALFORMED},
        {"a group", OCTETS(0x08, 1, 0x0b, 0x0c, 0xb2, 6, 0), KD_RPC_MALFORMED},
        {"field 0", OCTETS(0, 1, 0x08, 1, 0xb2, 6, 0), KD_RPC_MALFORMED},
        {"an unknown number", OCTETS(0x08, 1, 0xb2, 6, 0, 0xc2, 0x0c, 0),
         KD_RPC_UNKNOWN_FIELD},
        {"a length beyond the end", OCTETS(0x08, 1, 0xb2, 6, 1), KD_RPC_MALFORMED},
        {"a huge length",
         OCTETS(0x08, 1, 0x1a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1),
         KD_RPC_MALFORMED},
        {"an endless varint",
         OCTETS(0x08, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff),
         KD_RPC_MALFORMED},
    };
    struct kd_rpc_fault fault;

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        kd_err err = decode(true, kd_slice(cases[i].octets, cases[i].n), false, &fault);
        if (err != (i == 0 ? KD_OK : KD_MALFORMED) || fault.reason != cases[i].reason)
            fail_msg("%s: %s", cases[i].what, kd_rpc_reason_text(fault.reason));
    }
    assert_int_equal(decode(true, kd_slice(NULL, 0), false, &fault), KD_MALFORMED);
}

/* ---- memory */

static void
swarm_costs_no_more_than_the_budget(size_t n_octets, kd_err wanted,
                                    enum kd_rpc_reason reason)
{
    struct kd_rpc_fault fault;
    uint8_t *p = malloc(n_octets);
    size_t at = 0;

    assert_non_null(p);
    /* id, then an IssueUserSignet of empty ProfileFields (22 00): what swelled 60
     * times in plain protobuf-c. */
    memcpy(p, "\x08\x01\xa2\x07", 4);
    size_t head = n_octets > 16384 + 7 ? 7 : 6;
    size_t body = (n_octets - head) / 2 * 2;
    for (at = 4; at < head; at++)
        p[at] = (uint8_t)((body >> 7 * (at - 4) & 0x7f) | (at + 1 < head ? 0x80 : 0));
    for (; at < head + body; at += 2) {
        p[at] = 0x22;
        p[at + 1] = 0;
    }
    kd_arena_free(&decoded);
    size_t before = mallinfo2().uordblks + mallinfo2().hblkhd;
    assert_int_equal(decode(true, kd_slice(p, at), false, &fault), wanted);
    assert_int_equal(fault.reason, reason);
    size_t after = mallinfo2().uordblks + mallinfo2().hblkhd;
    assert_true(decoded.held <= 16 * n_octets + 65536);
    assert_true(decoded.held <= KD_RPC_ARENA_MAX);
#ifndef __SANITIZE_ADDRESS__
    assert_true(after - before <= 16 * n_octets + 65536 + 8192);
#endif
    (void)before;
    (void)after;
    free(p);
}

static void
a_swarm_of_empty_messages_is_refused_within_the_budget(void **state)
{
    (void)state;
    swarm_costs_no_more_than_the_budget(65535, KD_MALFORMED, KD_RPC_TOO_COMPLEX);
    swarm_costs_no_more_than_the_budget(16385, KD_MALFORMED, KD_RPC_TOO_COMPLEX);
    swarm_costs_no_more_than_the_budget(513, KD_INVALID, KD_RPC_FIELD_MISSING);
    swarm_costs_no_more_than_the_budget(1048577, KD_MALFORMED, KD_RPC_MALFORMED);
}

static void
a_swarm_of_unknown_fields_is_refused_within_the_budget(void **state)
{
    struct kd_rpc_fault fault;
    static uint8_t p[65536];

    (void)state;
    for (size_t at = 0; at + 2 < sizeof p; at += 3)
        memcpy(p + at, "\xc8\x01\x01", 3);
    assert_int_equal(decode(true, kd_slice(p, 65535), false, &fault), KD_MALFORMED);
    assert_true(decoded.held <= KD_RPC_ARENA_MAX);
}

static void
arena_stays_within_its_budget_and_reuses_memory(void **state)
{
    struct kd_arena a;

    (void)state;
    kd_arena_init(&a);
    assert_null(kd_arena_alloc(&a, 1));
    kd_arena_reset(&a, 10000);
    size_t n = 0;
    while (kd_arena_alloc(&a, 100) != NULL)
        n++;
    assert_true(n > 80 && n < 100);
    assert_true(a.over && a.held <= 10000);
    assert_null(kd_arena_alloc(&a, SIZE_MAX));
    assert_null(kd_arena_alloc(&a, SIZE_MAX - 15));
    kd_arena_reset(&a, 10000);
    assert_false(a.over);
    void *first = kd_arena_alloc(&a, 8);
    assert_int_equal((uintptr_t)first % 16, 0);
    size_t held = a.held;
    kd_arena_reset(&a, 10000);
    assert_ptr_equal(kd_arena_alloc(&a, 8), first);
    assert_int_equal(a.held, held);
    kd_arena_reset(&a, 64); /* what it keeps must fit, too */
    assert_int_equal(a.held, 0);
    kd_arena_free(&a);
}

/* ---- damage */

static void
damaged_samples_are_refused_or_another_sound_message(void **state)
{
    struct kd_rpc_fault fault;
    uint8_t octets[2048];

    (void)state;
    for (size_t i = 0; sample_case(i) != 0; i++) {
        unsigned op = sample_case(i);
        for (int request = 0; request < 2; request++) {
            bool has_fd = request && sample_request_has_fd(op);
            kd_arena_reset(&build, ARENA_TEST);
            struct kd_slice s = encode(request ? &sample_request(&build, op)->base
                                               : &sample_response(&build, op)->base);
            assert_true(s.n <= sizeof octets);
            for (size_t cut = 0; cut < s.n; cut++)
                assert_int_not_equal(
                    decode(request, kd_slice(s.p, cut), has_fd, &fault), KD_OK);
            memcpy(octets, s.p, s.n);
            for (size_t bit = 0; bit < s.n * 8; bit++) {
                octets[bit / 8] ^= (uint8_t)(1U << bit % 8);
                kd_err err = decode(request, kd_slice(octets, s.n), has_fd, &fault);
                assert_true(err == KD_OK || err == KD_INVALID || err == KD_MALFORMED);
                assert_int_equal(err == KD_OK, fault.reason == KD_RPC_NO_REASON);
                octets[bit / 8] ^= (uint8_t)(1U << bit % 8);
            }
        }
    }
}

/* ---- rules between fields */

static void
expect_request(Keyd__V1__Request *m, bool has_fd, enum kd_rpc_reason reason)
{
    struct kd_rpc_fault fault;
    kd_err err = decode(true, encode(&m->base), has_fd, &fault);

    assert_int_equal(fault.reason, reason);
    assert_int_equal(err, reason == KD_RPC_NO_REASON ? KD_OK : KD_INVALID);
    if (err != KD_OK)
        assert_true(fault.id == m->id);
}

static void
rules_between_the_fields_of_a_request_hold(void **state)
{
    Keyd__V1__Request *m = sample_request(&build, KEYD__V1__REQUEST__OP_SEAL);

    (void)state;
    m->id = 77;
    m->op_case = KEYD__V1__REQUEST__OP__NOT_SET;
    expect_request(m, false, KD_RPC_NO_OPERATION);

    m = sample_request(&build, KEYD__V1__REQUEST__OP_SEAL);
    expect_request(m, true, KD_RPC_FD_MISMATCH);
    m->takes_fd = true;
    expect_request(m, false, KD_RPC_FD_MISMATCH);
    expect_request(m, true, KD_RPC_FD_UNWANTED);
    m->takes_fd = false;
    m->idempotency_key = sample_octets(&build, 16);
    expect_request(m, false, KD_RPC_KEY_UNWANTED);

    m = sample_request(&build, KEYD__V1__REQUEST__OP_UNSEAL);
    m->takes_fd = false;
    expect_request(m, false, KD_RPC_FD_NEEDED);

    m = sample_request(&build, KEYD__V1__REQUEST__OP_GENERATE_KEY);
    m->idempotency_key.len = 0;
    expect_request(m, false, KD_RPC_KEY_NEEDED);

    m = sample_request(&build, KEYD__V1__REQUEST__OP_HELLO);
    m->hello->min_version = 2;
    expect_request(m, false, KD_RPC_FIELD_VALUE);
    m->hello->min_version = 1;
    m->hello->client_name = kd_rpc_data(kd_slice_str("evil\nline"));
    expect_request(m, false, KD_RPC_FIELD_VALUE);
    m->hello->client_name = kd_rpc_data(kd_slice_str("dmtpd 1.0"));
    expect_request(m, false, KD_RPC_NO_REASON);

    m = sample_request(&build, KEYD__V1__REQUEST__OP_IMPORT_KEY);
    m->import_key->encryption_key = false;
    expect_request(m, true, KD_RPC_FIELD_MISSING);
    m->import_key->signing_role = KEYD__V1__KEY_ROLE__KEY_ROLE_SOK;
    expect_request(m, true, KD_RPC_NO_REASON);
}

static void
rules_of_issuance_hold(void **state)
{
    static const unsigned ops[] = {KEYD__V1__REQUEST__OP_ISSUE_USER_SIGNET,
                                   KEYD__V1__REQUEST__OP_ISSUE_ORG_SIGNET};

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        Keyd__V1__Request *m = sample_request(&build, ops[i]);
        protobuf_c_boolean *image =
            i == 0 ? &m->issue_user_signet->image_fd : &m->issue_org_signet->image_fd;
        Keyd__V1__ProfileField *field =
            i == 0 ? m->issue_user_signet->profile[0] : m->issue_org_signet->profile[0];
        *image = true;
        expect_request(m, false, KD_RPC_FD_MISMATCH);
        m->takes_fd = true;
        expect_request(m, true, KD_RPC_NO_REASON);
        *image = false;
        expect_request(m, true, KD_RPC_FD_MISMATCH);
        m->takes_fd = false;
        field->name = sample_octets(&build, 3);
        expect_request(m, false, KD_RPC_FIELD_VALUE);
        field->type = 251;
        expect_request(m, false, KD_RPC_NO_REASON);
        field->name.len = 0;
        expect_request(m, false, KD_RPC_FIELD_VALUE);
        field->type = 252;
        expect_request(m, false, KD_RPC_FIELD_RANGE);
    }
}

static void
expect_response(Keyd__V1__Response *m, bool has_fd, enum kd_rpc_reason reason)
{
    struct kd_rpc_fault fault;
    kd_err err = decode(false, encode(&m->base), has_fd, &fault);

    assert_int_equal(fault.reason, reason);
    assert_int_equal(err, reason == KD_RPC_NO_REASON ? KD_OK : KD_INVALID);
}

static void
rules_between_the_fields_of_a_response_hold(void **state)
{
    Keyd__V1__Response *m = sample_response(&build, KEYD__V1__RESPONSE__RESULT_SEAL);

    (void)state;
    expect_response(m, true, KD_RPC_FD_UNWANTED);
    m->detail = sample_octets(&build, 3);
    expect_response(m, false, KD_RPC_FIELD_VALUE);
    m->detail.len = 0;
    m->retry_after_ms = 5;
    expect_response(m, false, KD_RPC_FIELD_VALUE);
    m->retry_after_ms = 0;
    m->id = 0;
    expect_response(m, false, KD_RPC_FIELD_RANGE);
    m->id = 1;
    m->status = KEYD__V1__STATUS__STATUS_DENIED;
    expect_response(m, false, KD_RPC_RESULT_MISMATCH);
    m->result_case = KEYD__V1__RESPONSE__RESULT__NOT_SET;
    expect_response(m, false, KD_RPC_NO_REASON);
    expect_response(m, true, KD_RPC_FD_UNWANTED);
    m->detail = kd_rpc_data(kd_slice_str("Bad Word"));
    expect_response(m, false, KD_RPC_FIELD_VALUE);
    m->detail.len = 0;
    m->status = KEYD__V1__STATUS__STATUS_OK; /* all zero but the id: never a success */
    expect_response(m, false, KD_RPC_RESULT_MISMATCH);

    m = sample_response(&build, KEYD__V1__RESPONSE__RESULT_LOOKUP_SIGNET);
    expect_response(m, true, KD_RPC_FD_MISMATCH);
    m->lookup_signet->signet_fd_size = 60000;
    expect_response(m, false, KD_RPC_FD_MISMATCH);
    expect_response(m, true, KD_RPC_FIELD_VALUE);
    m->lookup_signet->signet.len = 0;
    expect_response(m, true, KD_RPC_NO_REASON);
    m->lookup_signet->signet_fd_size = 0;
    expect_response(m, false, KD_RPC_FIELD_VALUE);
}

static void
an_object_comes_with_the_frame_or_in_parts_never_both(void **state)
{
    Keyd__V1__Request *q =
        sample_request(&build, KEYD__V1__REQUEST__OP_ISSUE_USER_SIGNET);
    Keyd__V1__Response *r =
        sample_response(&build, KEYD__V1__RESPONSE__RESULT_LOOKUP_SIGNET);

    (void)state;
    q->upload_id = sample_octets(&build, 16);
    expect_request(q, false, KD_RPC_FD_MISMATCH); /* image_fd says there is none */
    q->issue_user_signet->image_fd = true;
    expect_request(q, false, KD_RPC_NO_REASON);
    q->takes_fd = true;
    expect_request(q, true, KD_RPC_FD_MISMATCH);
    q = sample_request(&build, KEYD__V1__REQUEST__OP_SEAL);
    q->upload_id = sample_octets(&build, 16);
    expect_request(q, false, KD_RPC_UPLOAD_UNWANTED);

    r->object_id = sample_octets(&build, 16);
    expect_response(r, false, KD_RPC_FD_MISMATCH);
    r->lookup_signet->signet_fd_size = 60000;
    r->lookup_signet->signet.len = 0;
    expect_response(r, false, KD_RPC_NO_REASON);
    expect_response(r, true, KD_RPC_FD_MISMATCH);
    r = sample_response(&build, KEYD__V1__RESPONSE__RESULT_SEAL);
    r->object_id = sample_octets(&build, 16);
    expect_response(r, false, KD_RPC_FD_UNWANTED);
}

static void
a_part_lies_within_its_object(void **state)
{
    Keyd__V1__Request *q = sample_request(&build, KEYD__V1__REQUEST__OP_UPLOAD_PART);

    (void)state;
    q->upload_part->data = sample_octets(&build, 10);
    q->upload_part->total = 10;
    expect_request(q, false, KD_RPC_NO_REASON);
    q->upload_part->offset = 1;
    expect_request(q, false, KD_RPC_FIELD_VALUE);
    q->upload_part->data.len = 9;
    expect_request(q, false, KD_RPC_NO_REASON);
    q->upload_part->offset = 10;
    expect_request(q, false, KD_RPC_FIELD_VALUE);
}

static void
actions_on_accounts_have_the_fields_they_need(void **state)
{
    Keyd__V1__Request *f = sample_request(&build, KEYD__V1__REQUEST__OP_FREEZE_ADDRESS);
    Keyd__V1__Request *r = sample_request(&build, KEYD__V1__REQUEST__OP_RESET_ADDRESS);
    Keyd__V1__Request *s = sample_request(&build, KEYD__V1__REQUEST__OP_STOP_PRINCIPAL);

    (void)state;
    expect_request(f, false, KD_RPC_NO_REASON);
    f->freeze_address->reason = KEYD__V1__FREEZE_REASON__FREEZE_REASON_THEFT;
    expect_request(f, false, KD_RPC_FIELD_VALUE); /* SHOW has none */
    f->freeze_address->action = KEYD__V1__ACCOUNT_ACTION__ACCOUNT_ACTION_FREEZE;
    expect_request(f, false, KD_RPC_NO_REASON);
    f->freeze_address->reason = KEYD__V1__FREEZE_REASON__FREEZE_REASON_NONE;
    expect_request(f, false, KD_RPC_FIELD_VALUE);
    expect_request(r, false, KD_RPC_NO_REASON); /* a list from its start */
    r->reset_address->action = KEYD__V1__RESET_ACTION__RESET_ACTION_APPROVE;
    expect_request(r, false, KD_RPC_FIELD_MISSING);
    r->reset_address->address = sample_octets(&build, 5);
    expect_request(r, false, KD_RPC_NO_REASON);
    expect_request(s, false, KD_RPC_NO_REASON);
    s->stop_principal->name = sample_octets(&build, 5);
    expect_request(s, false, KD_RPC_FIELD_VALUE); /* of nobody in particular */
    s->stop_principal->action = KEYD__V1__STOP_ACTION__STOP_ACTION_STOP;
    expect_request(s, false, KD_RPC_NO_REASON);
    s->stop_principal->name.len = 0;
    expect_request(s, false, KD_RPC_FIELD_VALUE);
}

static void
what_is_sent_is_checked_as_what_is_received(void **state)
{
    Keyd__V1__Response *m = sample_response(&build, KEYD__V1__RESPONSE__RESULT_SEAL);
    struct kd_frame_out out;
    struct kd_frame_in in;
    struct kd_frame f;
    struct kd_slice s;
    struct kd_rpc_fault fault;
    const Keyd__V1__Response *back;

    (void)state;
    kd_frame_out_init(&out, 0);
    kd_frame_in_init(&in, KD_FRAME_MAX);
    m->seal->state = 99;
    assert_int_equal(kd_rpc_put_response(&out, m, -1, &fault), KD_INVALID);
    assert_string_equal(fault.field, "state");
    assert_int_equal(kd_frame_out_queued(&out), 0);
    m->seal->state = KEYD__V1__SERVICE_STATE__SERVICE_STATE_SEALED;
    assert_int_equal(kd_rpc_put_response(&out, m, -1, &fault), KD_OK);
    assert_int_equal(kd_frame_out_peek(&out, &s), KD_OK);
    assert_int_equal(kd_frame_feed(&in, s, -1), KD_OK);
    assert_int_equal(kd_frame_next(&in, &f), KD_OK);
    assert_int_equal(kd_rpc_decode_response(&decoded, f.body, false, &back, &fault),
                     KD_OK);
    assert_int_equal(back->seal->state, KEYD__V1__SERVICE_STATE__SERVICE_STATE_SEALED);
    kd_frame_out_clear(&out);
    kd_frame_in_clear(&in);
}

static void
every_error_has_a_status_and_every_reason_a_word(void **state)
{
    (void)state;
    for (unsigned e = 0; e < KD_ERR_COUNT; e++) {
        Keyd__V1__Status status = kd_rpc_status((kd_err)e);
        assert_non_null(protobuf_c_enum_descriptor_get_value(
            &keyd__v1__status__descriptor, (int)status));
        assert_int_equal(status == KEYD__V1__STATUS__STATUS_OK, e == KD_OK);
        assert_int_equal(kd_rpc_status(kd_rpc_status_err(status)), status);
    }
    for (unsigned i = 0; i < keyd__v1__status__descriptor.n_values; i++) {
        int v = keyd__v1__status__descriptor.values[i].value;
        assert_int_equal(v, i);
        assert_int_equal(kd_rpc_status(kd_rpc_status_err((Keyd__V1__Status)v)), v);
    }
    assert_int_equal(kd_rpc_status_err((Keyd__V1__Status)99), KD_FAILED);
    for (unsigned r = 1; r < KD_RPC_REASON_COUNT; r++) {
        Keyd__V1__Response m;
        kd_rpc_refuse(&m, 1, KD_INVALID, (enum kd_rpc_reason)r);
        assert_true(m.detail.len > 0);
        expect_response(&m, false, KD_RPC_NO_REASON);
    }
    assert_string_equal(kd_rpc_reason_text(KD_RPC_REASON_COUNT), "");
}

int
main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, start, stop)
    static const struct CMUnitTest tests[] = {
        T(every_field_of_every_type_has_its_line),
        T(no_type_contains_itself_and_all_are_reached),
        T(every_operation_has_its_line),
        T(every_operation_survives_the_wire),
        T(at_the_limit_is_taken_and_one_more_refused),
        T(full_messages_fit_the_budget),
        T(unknown_fields_are_refused_at_every_level),
        T(other_encodings_of_the_same_are_refused),
        T(a_swarm_of_empty_messages_is_refused_within_the_budget),
        T(a_swarm_of_unknown_fields_is_refused_within_the_budget),
        T(arena_stays_within_its_budget_and_reuses_memory),
        T(damaged_samples_are_refused_or_another_sound_message),
        T(rules_between_the_fields_of_a_request_hold),
        T(rules_of_issuance_hold),
        T(rules_between_the_fields_of_a_response_hold),
        T(an_object_comes_with_the_frame_or_in_parts_never_both),
        T(a_part_lies_within_its_object),
        T(actions_on_accounts_have_the_fields_they_need),
        T(what_is_sent_is_checked_as_what_is_received),
        T(every_error_has_a_status_and_every_reason_a_word),
    };
#undef T

    return cmocka_run_group_tests(tests, NULL, NULL);
}
