/* Files, secrets and small texts of the operators' tool. */
#include "keydctl.h"

#include <dime/armor.h>
#include <dime/identifier.h>
#include <dime/utf8.h>
#include <errno.h>
#include <fcntl.h>
#include <keyd/base/be.h>
#include <keyd/base/secret.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

enum { PASSPHRASE_MAX = 1024, CREDENTIAL_SIZE = 32 };

int
usage_error(const char *what, const char *text)
{
    complain(what, text);
    return EX_USAGE;
}

/* --- secrets ------------------------------------------------------------------------
 */

void
secret_free(struct secret *s)
{
    kd_secret_free(s->p, s->cap);
    *s = (struct secret){0};
}

static int
secret_new(size_t cap, struct secret *out)
{
    *out = (struct secret){.p = kd_secret_new(cap), .cap = cap};
    if (out->p != NULL)
        return EX_OK;
    complain("secret memory", "used up");
    return EX_OSERR;
}

static void
strip_line_end(struct secret *s)
{
    if (s->n > 0 && s->p[s->n - 1] == '\n')
        s->n--;
}

/* fd into secret memory. One octet more than max is read, to see that there is more. */
static int
secret_read(int fd, const char *path, size_t max, bool strip, struct secret *out)
{
    int status = secret_new(max + 2, out);

    if (status != EX_OK)
        return status;
    ssize_t n = read_up_to(fd, out->p, out->cap);
    if (n < 0) {
        complain(path, strerror(errno));
        return EX_NOINPUT;
    }
    out->n = (size_t)n;
    if (strip)
        strip_line_end(out);
    if (out->n == 0 || out->n > max) {
        complain(path, out->n == 0 ? "empty" : "too large");
        return EX_DATAERR;
    }
    return EX_OK;
}

static void
warn_of_mode(int fd, const char *path)
{
    struct stat st;

    if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && (st.st_mode & 077) != 0)
        complain(path, "warning: a secret that others can read");
}

int
secret_from_file(const char *path, size_t max, bool strip, struct secret *out)
{
    int fd = open_read(path);

    *out = (struct secret){0};
    if (fd < 0) {
        complain(path, strerror(errno));
        return EX_NOINPUT;
    }
    warn_of_mode(fd, path);
    int status = secret_read(fd, path, max, strip, out);
    close_read(fd);
    return status;
}

static bool
write_new_credential(int fd, const struct secret *s)
{
    size_t done = 0;

    while (done < s->n) {
        ssize_t n = write(fd, s->p + done, s->n - done);
        if (n < 0 && errno != EINTR)
            return false;
        done += n > 0 ? (size_t)n : 0;
    }
    return fsync(fd) == 0;
}

bool
folder_sync(const char *path)
{
    const char *slash = strrchr(path, '/');
    char *folder = slash == NULL   ? strdup(".")
                   : slash == path ? strdup("/")
                                   : strndup(path, (size_t)(slash - path));
    int fd = folder == NULL ? -1 : open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bool good = fd >= 0 && fsync(fd) == 0;

    if (fd >= 0)
        close(fd);
    free(folder);
    return good;
}

int
secret_make_file(const char *path, struct secret *out)
{
    int status = secret_new(CREDENTIAL_SIZE, out);

    if (status != EX_OK)
        return status;
    out->n = CREDENTIAL_SIZE;
    if (getrandom(out->p, out->n, 0) != CREDENTIAL_SIZE) {
        complain("random octets", strerror(errno));
        return EX_OSERR;
    }
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0400);
    if (fd < 0) {
        complain(path, strerror(errno));
        return EX_CANTCREAT;
    }
    bool good = write_new_credential(fd, out);
    good = close(fd) == 0 && good && folder_sync(path);
    if (good)
        return EX_OK;
    complain(path, strerror(errno));
    kd_ignore(unlink(path)); /* half a credential opens nothing */
    return EX_IOERR;
}

/* --- the terminal -------------------------------------------------------------------
 */

static volatile sig_atomic_t caught;

static void
on_signal(int number)
{
    caught = number;
}

static const int ending_signals[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT};
enum { N_ENDING = sizeof ending_signals / sizeof ending_signals[0] };

/* How things were before the terminal was made silent. */
struct before {
    struct termios terminal;
    struct sigaction ending[N_ENDING], stop;
    sigset_t mask;
};

/* Signals that end the program are held back but while waiting, so that none is missed
 * and the terminal is as it was before one takes effect; stopping the program would
 * leave a terminal without echo, so that is put off. */
static bool
silence(struct before *b)
{
    const struct sigaction act = {.sa_handler = on_signal},
                           ignore = {.sa_handler = SIG_IGN};
    struct termios silent;
    sigset_t held;

    if (tcgetattr(STDIN_FILENO, &b->terminal) != 0)
        return false;
    caught = 0;
    kd_ignore(sigemptyset(&held)); /* valid numbers, here and below */
    for (size_t i = 0; i < N_ENDING; i++)
        kd_ignore(sigaddset(&held, ending_signals[i]));
    kd_ignore(sigprocmask(SIG_BLOCK, &held, &b->mask));
    for (size_t i = 0; i < N_ENDING; i++)
        kd_ignore(sigaction(ending_signals[i], &act, &b->ending[i]));
    kd_ignore(sigaction(SIGTSTP, &ignore, &b->stop));
    silent = b->terminal;
    silent.c_lflag &= ~(tcflag_t)(ECHO | ECHOE | ECHOK | ECHONL);
    return tcsetattr(STDIN_FILENO, TCSAFLUSH, &silent) == 0;
}

static void
restore(const struct before *b)
{
    kd_ignore(
        tcsetattr(STDIN_FILENO, TCSAFLUSH, &b->terminal)); /* if it is still there */
    kd_ignore(sigaction(SIGTSTP, &b->stop, NULL));
    for (size_t i = 0; i < N_ENDING; i++)
        kd_ignore(sigaction(ending_signals[i], &b->ending[i], NULL));
    kd_ignore(sigprocmask(SIG_SETMASK, &b->mask, NULL));
}

/* One line, or 0 when a signal or the end of input came first. */
static size_t
read_line(const struct before *b, struct secret *out)
{
    struct pollfd p = {.fd = STDIN_FILENO, .events = POLLIN};

    while (caught == 0) {
        if (ppoll(&p, 1, NULL, &b->mask) <= 0)
            continue;
        ssize_t n = read(STDIN_FILENO, out->p, out->cap); /* a terminal gives a line */
        if (n >= 0 || errno != EINTR)
            return n > 0 ? (size_t)n : 0;
    }
    return 0;
}

static int
ask_once(const char *prompt, struct secret *out)
{
    struct before before;

    if (!silence(&before)) {
        complain("terminal", strerror(errno));
        return EX_OSERR;
    }
    emit(stderr, "%s", prompt);
    out->n = read_line(&before, out);
    emit(stderr, "\n");
    restore(&before);
    if (caught != 0) {
        kd_ignore(raise(caught));
        return EX_TEMPFAIL; /* if whoever started us ignores it */
    }
    strip_line_end(out);
    if (out->n == 0 || out->n > PASSPHRASE_MAX) {
        complain("passphrase", out->n == 0 ? "empty" : "too large");
        return EX_DATAERR;
    }
    return EX_OK;
}

int
secret_prompt(bool is_new, struct secret *out)
{
    struct secret again = {0};
    int status;

    *out = (struct secret){0};
    if (isatty(STDIN_FILENO) == 0)
        return secret_read(STDIN_FILENO, "standard input", PASSPHRASE_MAX, true, out);
    if ((status = secret_new(PASSPHRASE_MAX + 2, out)) != EX_OK ||
        (status = ask_once(is_new ? "New passphrase: " : "Passphrase: ", out)) !=
            EX_OK ||
        !is_new)
        return status;
    if ((status = secret_new(PASSPHRASE_MAX + 2, &again)) == EX_OK)
        status = ask_once("Again: ", &again);
    if (status == EX_OK &&
        (again.n != out->n || !kd_secret_eq(again.p, out->p, out->n))) {
        complain("passphrase", "the two differ");
        status = EX_DATAERR;
    }
    secret_free(&again);
    return status;
}

/* --- texts --------------------------------------------------------------------------
 */

struct keyd_octets
octets_of(struct kd_slice s)
{
    return (struct keyd_octets){s.p, s.n};
}

struct kd_slice
slice_of(struct keyd_octets s)
{
    return kd_slice(s.p, s.n);
}

int
name_read(const char *what, const char *text, enum name_kind want, struct name *out)
{
    static const char *const wanted[] = {[NAME_ANY] = "not a domain or mail address",
                                         [NAME_DOMAIN] = "not a domain",
                                         [NAME_ADDRESS] = "not a mail address"};
    kd_err err = dime_identifier_fold(kd_slice_str(text), out->text, &out->n);
    struct kd_slice name = kd_slice(out->text, err == KD_OK ? out->n : 0);

    if (err != KD_OK || (want == NAME_DOMAIN && !dime_identifier_is_domain(name)) ||
        (want == NAME_ADDRESS && !dime_identifier_is_address(name)))
        return usage_error(what, wanted[want]);
    out->text[out->n] = '\0';
    return EX_OK;
}

bool
number_read(const char *text, uint64_t lo, uint64_t hi, uint64_t *out)
{
    uint64_t v = 0;

    for (const char *p = text; *p != '\0'; p++) {
        if (*p < '0' || *p > '9')
            return false;
        uint64_t digit = (uint64_t)(*p - '0');
        if (v > (UINT64_MAX - digit) / 10)
            return false;
        v = 10 * v + digit;
    }
    if (*text == '\0' || v < lo || v > hi)
        return false;
    *out = v;
    return true;
}

static int
hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

bool
hex_read(const char *text, uint8_t *out, size_t n)
{
    if (strlen(text) != 2 * n)
        return false;
    for (size_t i = 0; i < n; i++) {
        int high = hex_digit(text[2 * i]), low = hex_digit(text[2 * i + 1]);
        if (high < 0 || low < 0)
            return false;
        out[i] = (uint8_t)(high << 4 | low);
    }
    return true;
}

void
hex_write(struct kd_slice octets, char *out)
{
    static const char digits[] = "0123456789abcdef";

    for (size_t i = 0; i < octets.n; i++) {
        *out++ = digits[octets.p[i] >> 4];
        *out++ = digits[octets.p[i] & 15];
    }
    *out = '\0';
}

const char *
time_text(uint64_t ms, char out[TIME_TEXT])
{
    enum { LAST_YEAR = 9999 };
    time_t seconds = (time_t)(ms / 1000);
    struct tm tm;
    size_t n;

    if (ms == 0 || ms / 1000 > INT64_MAX || gmtime_r(&seconds, &tm) == NULL ||
        tm.tm_year > LAST_YEAR - 1900 ||
        (n = strftime(out, TIME_TEXT, "%Y-%m-%dT%H:%M:%S", &tm)) == 0)
        kd_ignore(snprintf(out, TIME_TEXT, "-"));
    else
        kd_ignore(snprintf(out + n, TIME_TEXT - n, ".%03uZ", (unsigned)(ms % 1000)));
    return out;
}

/* --- JSON ---------------------------------------------------------------------------
 */

json_t *
json_hex(struct kd_slice octets)
{
    char *text = malloc(2 * octets.n + 1);

    if (text == NULL)
        return NULL;
    hex_write(octets, text);
    json_t *j = json_string(text);
    free(text);
    return j;
}

json_t *
json_octets(struct kd_slice text)
{
    if (!dime_utf8_valid(text, NULL))
        return json_base64(text);
    return json_stringn(text.n == 0 ? "" : (const char *)text.p, text.n);
}

json_t *
json_time(uint64_t ms)
{
    char text[TIME_TEXT];

    return ms == 0 ? json_null() : json_string(time_text(ms, text));
}

int
json_done(json_t *j, int status)
{
    return json_finish(j, HOLDS) == HOLDS ? status : EX_IOERR;
}

int
json_line(json_t *j)
{
    bool good = j != NULL && json_dumpf(j, stdout, JSON_COMPACT) == 0 &&
                fputc('\n', stdout) != EOF;

    json_decref(j);
    if (good)
        return EX_OK;
    complain("standard output", "cannot be written");
    return EX_IOERR;
}

/* --- signets ------------------------------------------------------------------------
 */

int
signet_write(const char *path, struct kd_slice signet)
{
    enum { TEXT_MAX = 24 << 20 };
    struct kd_buf text;
    uint16_t magic = signet.n >= 2 ? kd_be16(signet.p) : 0;

    kd_buf_init(&text, TEXT_MAX);
    dime_armor_put(&text, dime_armor_label_of(magic), DIME_ARMOR_FILE, signet);
    int status = EX_OSERR;
    if (text.err != KD_OK)
        complain(path, kd_err_text(text.err));
    else
        status = file_write(path, kd_buf_slice(&text)) == HOLDS ? EX_OK : EX_CANTCREAT;
    kd_buf_free(&text);
    return status;
}
