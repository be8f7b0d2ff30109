/* Private key files, and failures told. */
#include "dime_tool.h"

#include <dime/armor.h>
#include <keyd/base/secret.h>
#include <sys/stat.h>

/* libdime makes key files under the caller's umask, so this is common. */
static void
warn_of_mode(int fd, const char *path)
{
    struct stat st;

    if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && (st.st_mode & 077) != 0)
        complain(path, "warning: private keys that others can read");
}

int
keys_load(const char *path, struct dime_dkey **key, const char **why)
{
    int status = HOLDS;
    int fd = open_read(path);
    uint8_t *file = kd_secret_new(DIME_DKEY_FILE_MAX + 1);

    if (fd < 0) {
        status = trouble(path);
        goto out;
    }
    if (file == NULL) {
        complain(path, kd_err_text(KD_NOMEM));
        status = TROUBLE;
        goto out;
    }
    warn_of_mode(fd, path);
    ssize_t n = read_up_to(fd, file, DIME_DKEY_FILE_MAX + 1);
    if (n < 0) {
        status = trouble(path);
        goto out;
    }
    if (n > DIME_DKEY_FILE_MAX) {
        *why = "too large for a key file";
        status = FAILS;
        goto out;
    }
    kd_err err = dime_dkey_load(kd_slice(file, (size_t)n), key, why);
    if (err == KD_NOMEM || err == KD_FAILED) {
        complain(path, *why);
        status = TROUBLE;
    } else if (err != KD_OK) {
        status = FAILS;
    }
out:
    kd_secret_free(file, DIME_DKEY_FILE_MAX + 1);
    if (fd >= 0)
        close_read(fd);
    return status;
}

int
tell_failure(const struct options *o, json_t *j, const char *type, const char *why)
{
    complain(o->file, why);
    if (!o->json) {
        json_decref(j);
        return FAILS;
    }
    if (j == NULL) {
        j = json_object();
        kd_ignore(json_put(j, "type", json_string(type))); /* json_finish sees NULL */
    }
    if (!json_put(j, "valid", json_false()) ||
        !json_put(j, "reason", json_string(why))) {
        json_decref(j);
        j = NULL;
    }
    return json_finish(j, FAILS);
}

/* D-127 leaves padding and sum out of a message's armour, libdime wants them elsewhere.
 */
int
object_write(const char *path, struct kd_slice octets, bool armoured)
{
    const struct dime_source source = dime_source_of(octets);
    uint16_t magic = dime_object_magic(&source);
    enum dime_armor_label label = dime_armor_label_of(magic);
    enum dime_armor_style style =
        magic == DIME_MAGIC_MESSAGE ? DIME_ARMOR_WIRE : DIME_ARMOR_FILE;
    struct kd_buf text;

    if (!armoured)
        return file_write(path, octets);
    if (label == DIME_ARMOR_NONE) {
        complain(path, "no armour is known for this kind of object");
        return FAILS;
    }
    kd_buf_init(&text, dime_armor_size(label, style, octets.n));
    dime_armor_put(&text, label, style, octets);
    int status = TROUBLE;
    if (text.err == KD_OK)
        status = file_write(path, kd_buf_slice(&text));
    else
        complain(path, kd_err_text(text.err));
    kd_buf_free(&text);
    return status;
}

int
need_out(const struct options *o, const char *verb)
{
    if (o->out != NULL)
        return HOLDS;
    complain(verb, "-o OUT is needed");
    return TROUBLE;
}
