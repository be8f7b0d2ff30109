#include "mime_check.h"

#include "tree.h"
#include "vector.h"

#include <gmime/gmime.h>
#include <stdio.h>
#include <stdlib.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
/* cmocka.h wants the four above first */
#include <cmocka.h>

const struct mime_case mime_cases[] = {
#define MIME_CASE(name, way, types) {name, DIME_MIME_##way, types},
#include "mime_cases.def"
#undef MIME_CASE
};
const size_t n_mime_cases = sizeof mime_cases / sizeof mime_cases[0];

struct kd_slice
mime_mail(const char *name)
{
    char file[256];

    assert_true(snprintf(file, sizeof file, "%s.eml", name) < (int)sizeof file);
    struct kd_slice mail = vector_read(KEYD_VECTORS "/mime", file);
    if (mail.p == NULL)
        fail_msg("%s cannot be read", file);
    return mail;
}

struct dime_mime
mime_round_trip(struct kd_slice mail)
{
    struct dime_mime m;
    struct kd_buf out;

    kd_buf_init(&out, DIME_MIME_MAIL_MAX);
    assert_int_equal(dime_mime_import(mail, &m), KD_OK);
    struct dime_mime_content copy = mime_content_copy(&m.content);
    assert_int_equal(dime_mime_export(&copy, &out), KD_OK);
    assert_int_equal(out.n, mail.n);
    if (mail.n != 0)
        assert_memory_equal(out.p, mail.p, mail.n);
    mime_content_free(&copy);
    kd_buf_free(&out);
    return m;
}

static struct kd_slice
copy_of(struct kd_slice s)
{
    uint8_t *p = malloc(s.n + 1);

    assert_non_null(p);
    if (s.n != 0)
        memcpy(p, s.p, s.n);
    return kd_slice(p, s.n);
}

static void
slice_free(struct kd_slice s)
{
    union {
        const uint8_t *borrowed;
        void *owned;
    } u = {.borrowed = s.p};
    free(u.owned);
}

struct dime_mime_content
mime_content_copy(const struct dime_mime_content *c)
{
    struct dime_mime_content copy = {.headers = copy_of(c->headers),
                                     .n_parts = c->n_parts};
    struct dime_mime_part *parts = calloc(c->n_parts + 1, sizeof *parts);

    assert_non_null(parts);
    for (size_t i = 0; i < c->n_parts; i++) {
        assert_true(c->parts[i].data.n != 0);
        parts[i].type = c->parts[i].type;
        parts[i].data = copy_of(c->parts[i].data);
    }
    copy.parts = parts;
    /* the four required ones are always there, optional ones if the mail has them */
    static const bool required[DIME_COMMON_COUNT] = {[DIME_COMMON_DATE] = true,
                                                     [DIME_COMMON_TO] = true,
                                                     [DIME_COMMON_FROM] = true,
                                                     [DIME_COMMON_SUBJECT] = true};
    for (int i = 0; i < DIME_COMMON_COUNT; i++)
        if (required[i] || c->common.value[i].p != NULL)
            copy.common.value[i] = copy_of(c->common.value[i]);
    return copy;
}

void
mime_content_free(struct dime_mime_content *c)
{
    union {
        const struct dime_mime_part *borrowed;
        void *owned;
    } u = {.borrowed = c->parts};

    for (size_t i = 0; i < c->n_parts; i++)
        slice_free(c->parts[i].data);
    for (int i = 0; i < DIME_COMMON_COUNT; i++)
        slice_free(c->common.value[i]);
    slice_free(c->headers);
    free(u.owned);
    *c = (struct dime_mime_content){0};
}

const char *
mime_types(const struct dime_mime_content *c)
{
    static char text[8192];
    size_t at = 0;

    text[0] = '\0';
    for (size_t i = 0, same; i < c->n_parts; i += same) {
        for (same = 1; i + same < c->n_parts; same++)
            if (c->parts[i + same].type != c->parts[i].type)
                break;
        unsigned type = c->parts[i].type;
        const char *space = i == 0 ? "" : " ";
        int n =
            same > 2
                ? snprintf(text + at, sizeof text - at, "%s%ux%zu", space, type, same)
            : same == 2
                ? snprintf(text + at, sizeof text - at, "%s%u %u", space, type, type)
                : snprintf(text + at, sizeof text - at, "%s%u", space, type);
        assert_true(n > 0 && (size_t)n < sizeof text - at);
        at += (size_t)n;
    }
    return text;
}

struct places {
    const struct mime_tree *tree;
    uint32_t next;
    uint32_t n_other; /* parts that GMime sees elsewhere */
};

/* The next part of the tree is this object. */
static void
compare_object(GMimeObject *parent, GMimeObject *object, gpointer data)
{
    struct places *p = data;

    (void)parent;
    if (p->next >= p->tree->n) {
        p->n_other++;
        return;
    }
    const struct mime_node *node = &p->tree->node[p->next++];
    p->n_other += GMIME_IS_MULTIPART(object) != (node->boundary_size != 0);
    if (!GMIME_IS_PART(object)) /* a mail as a part: GMime takes it apart, too */
        return;
    GMimeDataWrapper *content = g_mime_part_get_content(GMIME_PART(object));
    GMimeStream *stream =
        content == NULL ? NULL : g_mime_data_wrapper_get_stream(content);
    if (stream == NULL)
        p->n_other += node->end != node->body;
    else
        p->n_other +=
            stream->bound_start != node->body || stream->bound_end != node->end;
}

uint32_t
mime_compare_gmime(struct kd_slice mail)
{
    struct mime_tree tree;
    struct places p = {.tree = &tree};

    g_mime_init();
    assert_int_equal(mime_tree_read(mail, &tree), KD_OK);
    assert_int_equal(tree.why, DIME_MIME_MAPPED);
    GMimeStream *stream =
        g_mime_stream_mem_new_with_buffer((const char *)mail.p, mail.n);
    GMimeParser *parser = g_mime_parser_new_with_stream(stream);
    g_mime_parser_set_persist_stream(parser, TRUE);
    GMimeMessage *message = g_mime_parser_construct_message(parser, NULL);
    if (message != NULL)
        g_mime_message_foreach(message, compare_object, &p);
    p.n_other += tree.n - p.next;
    if (message != NULL)
        g_object_unref(message);
    g_object_unref(parser);
    g_object_unref(stream);
    mime_tree_free(&tree);
    return p.n_other;
}
