#include "scan.h"
#include "problems.h"

#include <stdlib.h>

enum token_kind { T_END, T_WORD, T_NUMBER, T_STRING, T_PUNCTUATION, T_BAD };

struct token {
    enum token_kind kind;
    struct kd_slice text; /* of punctuation the one octet */
    uint32_t line;
};

struct scanner {
    struct kd_slice text;
    size_t at;
    uint32_t line;
    struct token token; /* the current one */
    size_t section;     /* index of the open one; 0 for the file */
    size_t n_nested;    /* braces to come of sections that were opened in one */
    struct kd_scan *out;
    size_t sections_cap;
    size_t entries_cap;
    size_t values_cap;
    struct kd_conf_problems *problems;
    kd_err err;
};

/* Lines and octets. */

static const char *
bad_octet_text(uint8_t c)
{
    if (c == '\r')
        return "carriage return (lines end with a line feed alone)";
    if (c == '\0')
        return "NUL octet";
    return "control character";
}

/* What is wrong anywhere, comments included; once a line. */
static void
check_lines(struct kd_slice text, struct kd_conf_problems *problems)
{
    uint32_t line = 1;
    size_t start = 0;
    bool reported = false;

    for (size_t i = 0; i < text.n; i++) {
        uint8_t c = text.p[i];
        if (c == '\n') {
            line++;
            start = i + 1;
            reported = false;
            continue;
        }
        if (reported)
            continue;
        if (i - start >= KD_CONF_LINE_MAX) {
            kd_conf_error(problems, line, "line of more than %d octets",
                          KD_CONF_LINE_MAX);
            reported = true;
        } else if ((c < 0x20 && c != '\t') || c == 0x7f) {
            kd_conf_error(problems, line, "%s", bad_octet_text(c));
            reported = true;
        }
    }
}

/* Tokens. */

static bool
at_end(const struct scanner *s)
{
    return s->at == s->text.n;
}

static uint8_t
octet(const struct scanner *s)
{
    return s->text.p[s->at];
}

static void
skip_blanks_and_comments(struct scanner *s)
{
    bool in_comment = false;

    for (; !at_end(s); s->at++) {
        uint8_t c = octet(s);
        if (c == '\n') {
            s->line++;
            in_comment = false;
        } else if (c == '#') {
            in_comment = true;
        } else if (!in_comment && c != ' ' && c != '\t' && c != '\r') {
            return;
        }
    }
}

static bool
is_blank(uint8_t c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static bool
is_punctuation(uint8_t c)
{
    return c == '{' || c == '}' || c == '=' || c == ',';
}

/* Where two tokens touch, libconfuse makes one of them. */
static bool
ends_token(const struct scanner *s)
{
    return at_end(s) || is_blank(octet(s)) || is_punctuation(octet(s)) ||
           octet(s) == '#';
}

/* What a string may not hold; NULL if the octet here is allowed. */
static const char *
string_trouble(const struct scanner *s)
{
    uint8_t c = octet(s);

    if (c == '\\')
        return "backslash in a string: there are no escapes";
    if (c == '$' && s->at + 1 < s->text.n && s->text.p[s->at + 1] == '{')
        return "\"${\" in a string: the environment is not used";
    if (c >= 0x80)
        return "octet that is not ASCII outside a comment";
    if (c == '\t')
        return "tab in a string";
    return NULL;
}

static void
scan_string(struct scanner *s)
{
    const char *trouble = NULL;
    size_t from = ++s->at;

    s->token.kind = T_STRING;
    while (!at_end(s) && octet(s) != '"' && octet(s) != '\n') {
        if (trouble == NULL)
            trouble = string_trouble(s);
        s->at++;
    }
    s->token.text = kd_slice(s->text.p + from, s->at - from);
    if (at_end(s) || octet(s) == '\n')
        trouble = "quote that is not closed on its line";
    else
        s->at++;
    if (trouble == NULL && !ends_token(s))
        trouble = "no blank after a string";
    if (trouble != NULL) {
        kd_conf_error(s->problems, s->line, "%s", trouble);
        s->token.kind = T_BAD;
    }
}

static bool
is_letter(uint8_t c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool
is_digit(uint8_t c)
{
    return c >= '0' && c <= '9';
}

/* The first octet that no word has says what the operator had in mind. */
static const char *
word_trouble(uint8_t c)
{
    switch (c) {
    case ';':
        return "';' is not used: an item ends with its value";
    case '\'':
        return "strings take double quotes";
    case '"':
        return "no blank before a string";
    case '$':
        return "'$': the environment is not used";
    case '(':
    case ')':
        return "parenthesis: there are no functions, include() neither";
    case '+':
        return "'+': write numbers without a sign, and one list with '='";
    case '/':
        return "'/': comments start with #, and paths take double quotes";
    case '\\':
        return "backslash: there are no escapes";
    default:
        if (c >= 0x80)
            return "octet that is not ASCII outside a comment";
        return "neither a word nor a number: write it in double quotes";
    }
}

static void
scan_word_or_number(struct scanner *s)
{
    size_t from = s->at;
    bool all_digits = true;
    const char *trouble = NULL;

    for (; !ends_token(s); s->at++) {
        uint8_t c = octet(s);
        bool is_first = s->at == from;
        if (!is_digit(c))
            all_digits = false;
        if (trouble == NULL && !is_letter(c) && !is_digit(c) && (c != '-' || is_first))
            trouble = word_trouble(c);
    }
    /* The braces of ${NAME} are not those of a list. */
    if (trouble != NULL && s->text.p[s->at - 1] == '$')
        while (!at_end(s) && !is_blank(octet(s)))
            s->at++;
    struct kd_slice t = kd_slice(s->text.p + from, s->at - from);
    s->token.text = t;
    s->token.kind = all_digits ? T_NUMBER : T_WORD;
    if (trouble == NULL && all_digits && t.n > 1 && t.p[0] == '0')
        trouble = "number with a leading 0 (octal?): a mode is a string, \"0660\"";
    if (trouble == NULL && !all_digits && is_digit(t.p[0]))
        trouble = word_trouble(t.p[0]);
    if (trouble != NULL) {
        kd_conf_error(s->problems, s->line, "%s", trouble);
        s->token.kind = T_BAD;
    }
}

static void
advance(struct scanner *s)
{
    skip_blanks_and_comments(s);
    s->token = (struct token){.kind = T_END, .line = s->line};
    if (at_end(s))
        return;
    if (is_punctuation(octet(s))) {
        s->token.kind = T_PUNCTUATION;
        s->token.text = kd_slice(s->text.p + s->at++, 1);
    } else if (octet(s) == '"') {
        scan_string(s);
    } else {
        scan_word_or_number(s);
    }
}

static bool
is_mark(const struct scanner *s, char mark)
{
    return s->token.kind == T_PUNCTUATION && s->token.text.p[0] == (uint8_t)mark;
}

/* Past the rest of the line that the current token is on, whatever stands there: one
 * problem is not to become many. */
static void
skip_line(struct scanner *s)
{
    if (s->token.kind == T_END)
        return;
    while (!at_end(s) && octet(s) != '\n')
        s->at++;
    advance(s);
}

/* What was there instead is reported unless the token itself was the trouble. */
static void
unexpected(struct scanner *s, const char *wanted)
{
    if (s->token.kind == T_END && s->section == 0) /* else the section is reported */
        kd_conf_error(s->problems, s->token.line, "end of file instead of %s", wanted);
    if (s->token.kind != T_END && s->token.kind != T_BAD)
        kd_conf_error(s->problems, s->token.line, "\"%s\" instead of %s",
                      KD_CONF_QUOTE(s->token.text), wanted);
    skip_line(s);
}

/* What was understood. */

/* Room for one more of size octets at the end of an array of n. */
static void *
grow(struct scanner *s, void *array, size_t n, size_t *cap, size_t size)
{
    if (n < *cap)
        return array;
    size_t more = *cap == 0 ? 16 : *cap + *cap / 2;
    void *p = reallocarray(array, more, size);
    if (p == NULL) {
        s->err = KD_NOMEM;
        return NULL;
    }
    *cap = more;
    return p;
}

static void
add_section(struct scanner *s, enum kd_conf_section type, struct kd_slice title,
            uint32_t line)
{
    struct kd_scan *o = s->out;

    if (o->n_sections == KD_SCAN_SECTIONS_MAX) {
        s->err = KD_TOO_LARGE;
        return;
    }
    struct kd_scan_section *p =
        grow(s, o->sections, o->n_sections, &s->sections_cap, sizeof *p);
    if (p == NULL)
        return;
    o->sections = p;
    /* At most KD_SCAN_SECTIONS_MAX: comparing all with all is quick enough. */
    for (size_t i = 1; i < o->n_sections; i++)
        if (p[i].type == type && kd_slice_eq(p[i].title, title)) {
            kd_conf_error(s->problems, line, "%s \"%s\" is there already, at line %u",
                          kd_conf_section_name(type), KD_CONF_QUOTE(title), p[i].line);
            break;
        }
    s->section = o->n_sections;
    p[o->n_sections++] = (struct kd_scan_section){
        .type = type, .title = title, .line = line, .first_entry = o->n_entries};
}

/* NULL when out of memory. */
static struct kd_scan_entry *
add_entry(struct scanner *s, const struct kd_conf_key *key, uint32_t line)
{
    struct kd_scan *o = s->out;

    struct kd_scan_entry *p =
        grow(s, o->entries, o->n_entries, &s->entries_cap, sizeof *p);
    if (p == NULL)
        return NULL;
    o->entries = p;
    p[o->n_entries] = (struct kd_scan_entry){
        .key = key, .section = s->section, .line = line, .first = o->n_values};
    return &p[o->n_entries++];
}

static void
add_value(struct scanner *s, struct kd_scan_entry *e)
{
    static const enum kd_scan_form forms[] = {[T_WORD] = KD_SCAN_WORD,
                                              [T_NUMBER] = KD_SCAN_NUMBER,
                                              [T_STRING] = KD_SCAN_STRING};
    struct kd_scan *o = s->out;

    /* One more than allowed is kept, so that the check of the value sees it. */
    if (kd_conf_key_is_list(e->key) && e->n > (size_t)e->key->max)
        return;
    struct kd_scan_value *p =
        grow(s, o->values, o->n_values, &s->values_cap, sizeof *p);
    if (p == NULL)
        return;
    o->values = p;
    p[o->n_values++] = (struct kd_scan_value){
        .text = s->token.text, .line = s->token.line, .form = forms[s->token.kind]};
    e->n++;
}

static bool
is_scalar(const struct scanner *s)
{
    return s->token.kind == T_WORD || s->token.kind == T_NUMBER ||
           s->token.kind == T_STRING;
}

/* The grammar. */

static void
scan_list(struct scanner *s, struct kd_scan_entry *e)
{
    advance(s); /* the brace */
    while (s->err == KD_OK && !is_mark(s, '}')) {
        if (s->token.kind == T_BAD) {
            advance(s); /* reported */
        } else if (is_scalar(s)) {
            add_value(s, e);
            advance(s);
        } else if (is_mark(s, ',')) {
            kd_conf_error(s->problems, s->token.line,
                          "\",\" without an item before it");
        } else {
            unexpected(s, "an item of the list or its \"}\"");
            return;
        }
        if (is_mark(s, ',')) {
            advance(s);
        } else if (is_scalar(s)) {
            kd_conf_error(s->problems, s->token.line, "no \",\" before \"%s\"",
                          KD_CONF_QUOTE(s->token.text));
        } else if (!is_mark(s, '}')) {
            unexpected(s, "\",\" or \"}\" in a list");
            return;
        }
    }
    advance(s);
}

static void
scan_value(struct scanner *s, const struct kd_conf_key *key, uint32_t line)
{
    struct kd_scan_entry *e = add_entry(s, key, line);

    if (e == NULL)
        return;
    if (is_mark(s, '{')) {
        if (!kd_conf_key_is_list(key))
            kd_conf_error(s->problems, s->token.line, "%s takes one value, no list",
                          key->name);
        scan_list(s, e);
    } else if (is_scalar(s)) {
        if (kd_conf_key_is_list(key))
            kd_conf_error(s->problems, s->token.line,
                          "%s takes a list: { \"one\", \"two\" }", key->name);
        add_value(s, e);
        advance(s);
    } else if (s->token.kind == T_BAD) {
        advance(s);
    } else {
        unexpected(s, "a value");
    }
}

/* A value whose key means nothing, so that one problem does not become two. */
static void
skip_value(struct scanner *s)
{
    if (!is_mark(s, '{')) {
        advance(s);
        return;
    }
    while (s->token.kind != T_END && !is_mark(s, '}'))
        advance(s);
    advance(s);
}

static void
report_unknown_key(struct scanner *s, struct kd_slice name, uint32_t line)
{
    enum kd_conf_section type = s->out->sections[s->section].type;

    if (kd_slice_eq(name, kd_slice_str("include")))
        kd_conf_error(s->problems, line, "include is not allowed: one file says all");
    else if (type == KD_CONF_TOP)
        kd_conf_error(s->problems, line, "unknown key %s", KD_CONF_QUOTE(name));
    else
        kd_conf_error(s->problems, line, "unknown key %s in a %s section",
                      KD_CONF_QUOTE(name), kd_conf_section_name(type));
}

static void
scan_key(struct scanner *s, struct kd_slice name, uint32_t line)
{
    const struct kd_conf_key *key =
        kd_conf_key_find(s->out->sections[s->section].type, name);

    if (key == NULL)
        report_unknown_key(s, name, line);
    if (is_mark(s, '=') && s->token.line == line)
        advance(s);
    else if (s->token.kind != T_END && s->token.line == line) {
        if (key == NULL)
            skip_line(s);
        else
            unexpected(s, "\"=\"");
        return;
    }
    if (s->token.kind == T_END || s->token.line != line) {
        kd_conf_error(s->problems, line, "%s: no value on its line",
                      KD_CONF_QUOTE(name));
        return;
    }
    const struct kd_scan_entry *old =
        key == NULL ? NULL : kd_scan_find(s->out, s->section, key->name);
    if (old != NULL)
        kd_conf_error(s->problems, line, "%s is given already, at line %u", key->name,
                      old->line);
    if (key == NULL || old != NULL)
        skip_value(s);
    else
        scan_value(s, key, line);
}

static void
open_section(struct scanner *s, enum kd_conf_section type, uint32_t line)
{
    if (s->section != 0) {
        s->n_nested++;
        kd_conf_error(
            s->problems, line,
            "section in a section: is the \"}\" of the one of line %u missing?",
            s->out->sections[s->section].line);
    }
    if (s->token.kind == T_WORD || s->token.kind == T_NUMBER)
        kd_conf_error(s->problems, s->token.line,
                      "the name of a section takes double quotes");
    else if (s->token.kind != T_STRING && s->token.kind != T_BAD) {
        unexpected(s, "the section's name in double quotes");
        return;
    }
    struct kd_slice title = s->token.text;
    advance(s);
    if (!is_mark(s, '{')) {
        unexpected(s, "\"{\"");
        return;
    }
    advance(s);
    add_section(s, type, title, line);
}

static void
scan_item(struct scanner *s)
{
    struct token name = s->token;

    if (is_mark(s, '}') && s->section != 0) {
        s->section = 0;
        advance(s);
        return;
    }
    if (is_mark(s, '}') && s->n_nested > 0) {
        s->n_nested--; /* reported when it was opened */
        advance(s);
        return;
    }
    if (name.kind != T_WORD) {
        unexpected(s, s->section == 0 ? "a key or a section" : "a key or \"}\"");
        return;
    }
    advance(s);
    for (enum kd_conf_section type = KD_CONF_DOMAIN; type < KD_CONF_SECTION_COUNT;
         type++)
        if (!is_mark(s, '=') &&
            kd_slice_eq(name.text, kd_slice_str(kd_conf_section_name(type)))) {
            open_section(s, type, name.line);
            return;
        }
    scan_key(s, name.text, name.line);
}

kd_err
kd_scan_text(struct kd_slice text, struct kd_scan *out,
             struct kd_conf_problems *problems)
{
    struct scanner s = {.text = text, .line = 1, .out = out, .problems = problems};

    *out = (struct kd_scan){0};
    check_lines(text, problems);
    add_section(&s, KD_CONF_TOP, kd_slice(NULL, 0), 0);
    if (s.err != KD_OK)
        return s.err;
    advance(&s);
    /* With no room for more problems there is no use in finding them. */
    while (s.token.kind != T_END && s.err == KD_OK && !problems->more)
        scan_item(&s);
    if (s.err == KD_OK && s.section != 0 && !problems->more)
        kd_conf_error(problems, out->sections[s.section].line,
                      "section without its \"}\"");
    if (s.err != KD_OK)
        kd_scan_clear(out);
    return s.err;
}

void
kd_scan_clear(struct kd_scan *s)
{
    free(s->sections);
    free(s->entries);
    free(s->values);
    *s = (struct kd_scan){0};
}

const struct kd_scan_entry *
kd_scan_find(const struct kd_scan *s, size_t section, const char *key)
{
    /* The entries of a section follow each other; those of the file may lie between. */
    for (size_t i = s->sections[section].first_entry; i < s->n_entries; i++) {
        const struct kd_scan_entry *e = &s->entries[i];
        if (e->section == section && strcmp(e->key->name, key) == 0)
            return e;
        if (e->section != section && section != 0)
            break;
    }
    return NULL;
}

uint32_t
kd_scan_line(const struct kd_scan *s, size_t section, const char *key)
{
    const struct kd_scan_entry *e = key == NULL ? NULL : kd_scan_find(s, section, key);

    return e != NULL ? e->line : s->sections[section].line;
}
