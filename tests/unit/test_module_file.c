/* A module's file, looked at before it is loaded. */
#include "../support/test.h"

#include <keyd/p11/module_file.h>

#include <elf.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct place {
    char folder[48], file[64], link[64];
};

static int
make_place(void **state)
{
    static struct place p;

    strcpy(p.folder, "/tmp/test_module.XXXXXX");
    if (mkdtemp(p.folder) == NULL)
        return -1;
    snprintf(p.file, sizeof p.file, "%s/m.so", p.folder);
    snprintf(p.link, sizeof p.link, "%s/link.so", p.folder);
    *state = &p;
    return 0;
}

static int
drop_place(void **state)
{
    struct place *p = *state;

    unlink(p->file);
    unlink(p->link);
    return rmdir(p->folder);
}

/* This very program, which is a position-independent one, changed at one octet. */
static void
write_module(const char *path, size_t at, uint8_t value)
{
    uint8_t octets[4096];
    int in = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    int out = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    ssize_t n;

    assert_true(in >= 0 && out >= 0);
    for (bool first = true; (n = read(in, octets, sizeof octets)) > 0; first = false) {
        if (first && value != 0)
            octets[at] = value;
        assert_int_equal(write(out, octets, (size_t)n), n);
    }
    assert_int_equal(n, 0);
    close(in);
    close(out);
    assert_int_equal(chmod(path, 0644), 0);
}

static enum p11_finding_code
look(const char *path)
{
    struct p11_finding f;
    enum p11_finding_code code = p11_module_look(path, geteuid(), &f);

    assert_int_equal(f.code, code);
    assert_int_equal(f.what[0] == '\0', code == P11_FINE);
    return code;
}

static void
a_shared_library_of_this_machine_is_fine(void **state)
{
    struct place *p = *state;

    write_module(p->file, 0, 0);
    assert_int_equal(look(p->file), P11_FINE);
    assert_int_equal(symlink("m.so", p->link), 0);
    assert_int_equal(look(p->link), P11_FINE);
}

static void
other_files_are_named_as_what_they_are(void **state)
{
    struct place *p = *state;

    assert_int_equal(look("/nonexistent/m.so"), P11_MODULE_MISSING);
    assert_int_equal(look(p->folder), P11_MODULE_NOT_ELF);
    assert_int_equal(look("/dev/null"), P11_MODULE_NOT_ELF);
    assert_int_equal(mkfifo(p->file, 0600), 0);
    assert_int_equal(look(p->file), P11_MODULE_NOT_ELF); /* and nobody waits */
    unlink(p->file);
    FILE *f = fopen(p->file, "w");
    assert_non_null(f);
    assert_int_equal(look(p->file), P11_MODULE_NOT_ELF); /* empty */
    for (int i = 0; i < 100; i++)
        fputs("this is no ELF file\n", f);
    assert_int_equal(fclose(f), 0);
    assert_int_equal(look(p->file), P11_MODULE_NOT_ELF);
}

static void
another_machine_is_told(void **state)
{
    struct place *p = *state;

    write_module(p->file, EI_CLASS, 3);
    assert_int_equal(look(p->file), P11_MODULE_OTHER_MACHINE);
    write_module(p->file, EI_DATA, 3);
    assert_int_equal(look(p->file), P11_MODULE_OTHER_MACHINE);
    write_module(p->file, offsetof(Elf64_Ehdr, e_machine), EM_S390);
    assert_int_equal(look(p->file), P11_MODULE_OTHER_MACHINE);
    write_module(p->file, offsetof(Elf64_Ehdr, e_type), ET_REL);
    assert_int_equal(look(p->file), P11_MODULE_NOT_ELF);
}

static void
a_file_that_is_cut_is_never_loaded(void **state)
{
    struct place *p = *state;

    write_module(p->file, 0, 0);
    /* what debuggers read lies behind what the loader maps */
    for (off_t n = 10000; n > (off_t)sizeof(Elf64_Ehdr); n /= 2) {
        assert_int_equal(truncate(p->file, n), 0);
        assert_int_equal(look(p->file), P11_MODULE_CUT);
    }
    write_module(p->file, offsetof(Elf64_Ehdr, e_phnum) + 1, 1); /* 256 and more */
    assert_int_equal(look(p->file), P11_MODULE_CUT);
    write_module(p->file, offsetof(Elf64_Ehdr, e_phoff) + 7, 0xff);
    assert_int_equal(look(p->file), P11_MODULE_CUT);
}

static void
what_others_can_write_is_refused(void **state)
{
    struct place *p = *state;
    struct p11_finding f;

    write_module(p->file, 0, 0);
    assert_int_equal(chmod(p->file, 0664), 0);
    assert_int_equal(look(p->file), P11_MODULE_WRITABLE);
    assert_int_equal(chmod(p->file, 0646), 0);
    assert_int_equal(look(p->file), P11_MODULE_WRITABLE);
    assert_int_equal(chmod(p->file, 0644), 0);
    assert_int_equal(chmod(p->folder, 0777), 0);
    assert_int_equal(p11_module_look(p->file, geteuid(), &f), P11_MODULE_WRITABLE);
    assert_string_equal(f.what, p->folder);
    assert_int_equal(chmod(p->folder, 01777), 0); /* sticky, as /tmp above it */
    assert_int_equal(look(p->file), P11_FINE);
    assert_int_equal(chmod(p->folder, 0755), 0);
    if (geteuid() != 0)
        return; /* nobody can give files away */
    assert_int_equal(chown(p->file, 12345, 0), 0);
    assert_int_equal(look(p->file), P11_MODULE_WRITABLE);
    assert_int_equal(p11_module_look(p->file, 12345, &f), P11_FINE);
}

/* What is loaded is what was looked at, wherever the link leads by then. */
static void
the_file_behind_a_link_is_told(void **state)
{
    struct place *p = *state;
    char real[P11_MODULE_PATH_MAX];
    struct p11_finding f;

    write_module(p->file, 0, 0);
    assert_int_equal(symlink(p->file, p->link), 0);
    assert_int_equal(p11_module_resolve(p->link, geteuid(), real, &f), P11_FINE);
    assert_string_equal(real, p->file);
    assert_int_equal(unlink(p->link), 0);
    assert_int_equal(symlink("/dev/null", p->link), 0);
    assert_string_equal(real, p->file);
    assert_int_equal(p11_module_resolve(p->link, geteuid(), real, &f),
                     P11_MODULE_NOT_ELF);
}

static void
a_link_that_others_can_change_is_refused(void **state)
{
    struct place *p = *state;

    if (geteuid() != 0)
        skip();
    write_module(p->file, 0, 0);
    assert_int_equal(symlink(p->file, p->link), 0);
    assert_int_equal(look(p->link), P11_FINE);
    assert_int_equal(lchown(p->link, 4242, 4242), 0);
    assert_int_equal(look(p->link), P11_MODULE_WRITABLE);
    assert_int_equal(look(p->file), P11_FINE);
}

int
main(void)
{
#define IN_PLACE(test) cmocka_unit_test_setup_teardown(test, make_place, drop_place)
    const struct CMUnitTest tests[] = {
        IN_PLACE(a_shared_library_of_this_machine_is_fine),
        IN_PLACE(other_files_are_named_as_what_they_are),
        IN_PLACE(another_machine_is_told),
        IN_PLACE(a_file_that_is_cut_is_never_loaded),
        IN_PLACE(what_others_can_write_is_refused),
        cmocka_unit_test_setup_teardown(the_file_behind_a_link_is_told, make_place,
                                        drop_place),
        cmocka_unit_test_setup_teardown(a_link_that_others_can_change_is_refused,
                                        make_place, drop_place),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
