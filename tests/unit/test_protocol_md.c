/* proto/PROTOCOL.md and the sizes in keyd.proto say what the program does. With
 * --write the sections of PROTOCOL.md that come from tables are written anew. */
#include "rpc_sample.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
/* cmocka.h wants the four above first */
#include <cmocka.h>

#define MANUAL KEYD_VECTORS "/../../proto/PROTOCOL.md"
#define PROTO KEYD_VECTORS "/../../proto/keyd.proto"

static char *
read_text(const char *path)
{
    FILE *f = fopen(path, "rb");
    char *text = calloc(1, 1 << 18);

    assert_non_null(f);
    assert_non_null(text);
    assert_true(fread(text, 1, (1 << 18) - 1, f) > 0);
    fclose(f);
    return text;
}

/* ---- what the sections should hold */

static const char *
yes(bool x)
{
    return x ? "yes" : "";
}

static const char *
fd_word(enum kd_rpc_fd_rule rule)
{
    return rule == KD_RPC_FD_MUST ? "always" : rule == KD_RPC_FD_MAY ? "may" : "";
}

static void
make_operations(struct kd_buf *b)
{
    kd_buf_printf(b, "\n| number | field | operation | changing | fd in | fd out |\n"
                     "|---|---|---|---|---|---|\n");
    for (size_t i = 0; sample_case(i) != 0; i++) {
        const struct kd_rpc_op *op = kd_rpc_op(sample_case(i));
        kd_buf_printf(b, "| %u | %u | %s | %s | %s | %s |\n", op->number,
                      kd_rpc_case(op->number), op->name, yes(op->changing),
                      fd_word(op->fd_in), fd_word(op->fd_out));
    }
    kd_buf_printf(b, "\n");
}

static void
make_number(struct kd_buf *b, uint64_t v)
{
    if (v == UINT64_MAX)
        kd_buf_printf(b, "2^64-1");
    else if (v == UINT32_MAX)
        kd_buf_printf(b, "2^32-1");
    else
        kd_buf_printf(b, "%llu", (unsigned long long)v);
}

/* As beside the field in keyd.proto. */
static void
make_size(struct kd_buf *b, const struct kd_rpc_limit *l)
{
    if (l->count > 0)
        kd_buf_printf(b, "x %zu%s", l->count, l->kind == KD_RPC_SUB ? "" : " of ");
    if (l->kind == KD_RPC_OPT)
        kd_buf_printf(b, "0|");
    if (l->kind != KD_RPC_UINT && l->kind != KD_RPC_BYTES && l->kind != KD_RPC_OPT)
        return;
    make_number(b, l->lo);
    if (l->lo == l->hi)
        return;
    kd_buf_printf(b, "..");
    make_number(b, l->hi);
}

static const char *
type_word(const ProtobufCFieldDescriptor *f)
{
    switch ((int)f->type) {
    case PROTOBUF_C_TYPE_UINT32:
        return "uint32";
    case PROTOBUF_C_TYPE_UINT64:
        return "uint64";
    case PROTOBUF_C_TYPE_BOOL:
        return "bool";
    case PROTOBUF_C_TYPE_ENUM:
        return ((const ProtobufCEnumDescriptor *)f->descriptor)->short_name;
    case PROTOBUF_C_TYPE_MESSAGE:
        return ((const ProtobufCMessageDescriptor *)f->descriptor)->short_name;
    default:
        return "bytes";
    }
}

static void
make_fields(struct kd_buf *b)
{
    const ProtobufCMessageDescriptor *type;

    kd_buf_printf(b, "\n| message | number | field | type | size or range |\n"
                     "|---|---|---|---|---|\n");
    for (size_t t = 0; (type = kd_rpc_type(t)) != NULL; t++) {
        const struct kd_rpc_limit *l = kd_rpc_limits(type);
        if (type->n_fields == 0)
            kd_buf_printf(b, "| %s | | none | | |\n", type->short_name);
        for (unsigned i = 0; i < type->n_fields; i++) {
            const ProtobufCFieldDescriptor *f = &type->fields[i];
            kd_buf_printf(b, "| %s | %u | %s | %s | ", type->short_name, f->id, f->name,
                          type_word(f));
            if (l[i].kind == KD_RPC_ENUM && l[i].lo > 0)
                kd_buf_printf(b, "set");
            else if (l[i].kind == KD_RPC_SUB && l[i].count == 0)
                kd_buf_printf(b, "required");
            else if (l[i].kind == KD_RPC_CASE)
                kd_buf_printf(b, "one of the oneof");
            else
                make_size(b, &l[i]);
            kd_buf_printf(b, " |\n");
        }
    }
    kd_buf_printf(b, "\n");
}

static void
make_line(struct kd_buf *b, struct kd_slice s, const char *text)
{
    char hex[64] = "";

    assert_true(s.n * 3 < sizeof hex);
    for (size_t i = 0; i < s.n; i++)
        snprintf(hex + 3 * i, 4, "%02x ", s.p[i]);
    kd_buf_printf(b, "%-36s%s\n", hex, text);
}

/* Cuts the frame where the notes say and writes a line for each piece. */
static void
make_dump(struct kd_buf *b, struct kd_slice frame, const size_t *sizes,
          const char *const *notes, size_t n)
{
    size_t at = 0;

    for (size_t i = 0; i < n; at += sizes[i], i++) {
        assert_true(sizes[i] <= frame.n - at);
        make_line(b, kd_slice(frame.p + at, sizes[i]), notes[i]);
    }
    assert_int_equal(at, frame.n);
}

static void
make_hello(struct kd_buf *b)
{
    static const size_t q_sizes[] = {4, 2, 3, 2, 2, 6};
    static const char *const q_notes[] = {
        "no descriptor, 15 octets", "1: id = 1",
        "101: hello, 10 octets",    "  1: min_version = 1",
        "  2: max_version = 1",     "  3: client_name = \"demo\""};
    static const size_t r_sizes[] = {4, 2, 3, 2, 4, 2, 5, 5, 4};
    static const char *const r_notes[] = {
        "no descriptor, 27 octets",     "1: id = 1 (status 0 is not sent)",
        "101: hello, 22 octets",        "  1: version = 1",
        "  2: max_frame = 65536",       "  3: max_in_flight = 32",
        "  4: class_name = \"mta\"",    "  5: max_object = 68157440",
        "  6: idle_timeout_ms = 300000"};
    Keyd__V1__HelloRequest hello = KEYD__V1__HELLO_REQUEST__INIT;
    Keyd__V1__HelloResult result = KEYD__V1__HELLO_RESULT__INIT;
    Keyd__V1__Request q = KEYD__V1__REQUEST__INIT;
    Keyd__V1__Response r = KEYD__V1__RESPONSE__INIT;
    struct kd_rpc_fault fault;
    struct kd_frame_out out;
    struct kd_slice s;

    hello.min_version = hello.max_version = 1;
    hello.client_name = kd_rpc_data(kd_slice_str("demo"));
    q.id = 1;
    q.op_case = KEYD__V1__REQUEST__OP_HELLO;
    q.hello = &hello;
    result.version = 1;
    result.max_frame = 65536;
    result.max_in_flight = 32;
    result.class_name = kd_rpc_data(kd_slice_str("mta"));
    result.max_object = 68157440;
    result.idle_timeout_ms = 300000;
    r.id = 1;
    r.result_case = KEYD__V1__RESPONSE__RESULT_HELLO;
    r.hello = &result;

    kd_frame_out_init(&out, 0);
    kd_buf_printf(b, "\n```\nclient:\n");
    assert_int_equal(kd_rpc_put_request(&out, &q, -1, &fault), KD_OK);
    assert_int_equal(kd_frame_out_peek(&out, &s), KD_OK);
    make_dump(b, s, q_sizes, q_notes, 6);
    kd_frame_out_drop(&out, s.n);
    kd_buf_printf(b, "server:\n");
    assert_int_equal(kd_rpc_put_response(&out, &r, -1, &fault), KD_OK);
    assert_int_equal(kd_frame_out_peek(&out, &s), KD_OK);
    make_dump(b, s, r_sizes, r_notes, 9);
    kd_frame_out_clear(&out);
    kd_buf_printf(b, "```\n\n");
}

static const struct {
    const char *mark;
    void (*make)(struct kd_buf *b);
} sections[] = {
    {"<!-- operations: checked by a test -->\n", make_operations},
    {"<!-- hello: checked by a test -->\n", make_hello},
    {"<!-- fields: checked by a test -->\n", make_fields},
};

/* A section's text, and its place in the manual. */
static char *
find_section(char *manual, const char *mark, size_t *n)
{
    char *from = strstr(manual, mark);

    assert_non_null(from);
    from += strlen(mark);
    char *to = strstr(from, "<!-- end -->");
    assert_non_null(to);
    *n = (size_t)(to - from);
    return from;
}

/* ---- tests */

static void
the_manual_says_what_the_tables_say(void **state)
{
    char *manual = read_text(MANUAL);

    (void)state;
    for (size_t i = 0; i < sizeof sections / sizeof sections[0]; i++) {
        struct kd_buf b;
        size_t n;
        char *text = find_section(manual, sections[i].mark, &n);
        kd_buf_init(&b, 1 << 18);
        sections[i].make(&b);
        if (!kd_slice_eq(kd_buf_slice(&b), kd_slice(text, n)))
            fail_msg("%s is out of date: run test_protocol_md --write",
                     sections[i].mark);
        kd_buf_free(&b);
    }
    free(manual);
}

static void
the_manual_explains_every_status_and_operation(void **state)
{
    char *manual = read_text(MANUAL);
    size_t n;
    char line[100];

    (void)state;
    char *statuses = find_section(manual, "<!-- statuses: checked by a test -->\n", &n);
    for (unsigned i = 0; i < keyd__v1__status__descriptor.n_values; i++) {
        const ProtobufCEnumValue *v = &keyd__v1__status__descriptor.values[i];
        snprintf(line, sizeof line, "\n| %d | `%s` | ", v->value, v->name);
        char *at = strstr(statuses, line);
        if (at == NULL || at > statuses + n)
            fail_msg("%s is not explained", v->name);
    }
    for (size_t i = 0; sample_case(i) != 0; i++) {
        snprintf(line, sizeof line, "**%s**", kd_rpc_op(sample_case(i))->name);
        if (strstr(manual, line) == NULL)
            fail_msg("%s is not explained", line);
    }
    free(manual);
}

/* `name = N;  // size` or `// size; more`, within its message. */
static void
check_comment(const char *body, const char *end, const ProtobufCMessageDescriptor *type,
              const ProtobufCFieldDescriptor *f, const struct kd_rpc_limit *l)
{
    char wanted[100];
    struct kd_buf size;

    kd_buf_init(&size, 100);
    make_size(&size, l);
    struct kd_slice s = kd_buf_slice(&size);
    snprintf(wanted, sizeof wanted, " %s = %u;", f->name, f->id);
    const char *at = strstr(body, wanted);
    if (at == NULL || at > end)
        fail_msg("%s.%s: not found in keyd.proto", type->short_name, f->name);
    at += strlen(wanted);
    at += strspn(at, " ");
    if (s.n > 0 &&
        (strncmp(at, "// ", 3) != 0 || strncmp(at + 3, (const char *)s.p, s.n) != 0 ||
         strchr(";\n,", at[3 + s.n]) == NULL))
        fail_msg("%s.%s: keyd.proto does not say %.*s", type->short_name, f->name,
                 (int)s.n, (const char *)s.p);
    kd_buf_free(&size);
}

static void
sizes_in_the_proto_file_are_those_enforced(void **state)
{
    char *proto = read_text(PROTO);
    const ProtobufCMessageDescriptor *type;

    (void)state;
    for (size_t t = 0; (type = kd_rpc_type(t)) != NULL; t++) {
        char head[100];
        snprintf(head, sizeof head, "\nmessage %s {\n", type->short_name);
        const char *body = strstr(proto, head);
        assert_non_null(body);
        const char *end = strstr(body, "\n}\n");
        assert_non_null(end);
        for (unsigned i = 0; i < type->n_fields; i++)
            check_comment(body, end, type, &type->fields[i], &kd_rpc_limits(type)[i]);
    }
    free(proto);
}

static int
write_sections(void)
{
    for (size_t i = 0; i < sizeof sections / sizeof sections[0]; i++) {
        char *manual = read_text(MANUAL);
        struct kd_buf b;
        size_t n;
        char *text = find_section(manual, sections[i].mark, &n);
        kd_buf_init(&b, 1 << 18);
        kd_buf_put(&b, kd_slice(manual, (size_t)(text - manual)));
        sections[i].make(&b);
        kd_buf_put(&b, kd_slice_str(text + n));
        FILE *f = fopen(MANUAL, "wb");
        if (f == NULL || fwrite(b.p, 1, b.n, f) != b.n || fclose(f) != 0)
            return 1;
        kd_buf_free(&b);
        free(manual);
    }
    return 0;
}

int
main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_manual_says_what_the_tables_say),
        cmocka_unit_test(the_manual_explains_every_status_and_operation),
        cmocka_unit_test(sizes_in_the_proto_file_are_those_enforced),
    };

    if (argc == 2 && strcmp(argv[1], "--write") == 0)
        return write_sections();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
