/* Straight changes of a closed registry, past its triggers. */
#ifndef KEYD_TESTS_TAMPER_H
#define KEYD_TESTS_TAMPER_H

/* Runs the SQL on the registry file with all triggers away and puts them back, word
 * for word. Any failure ends the program. */
void tamper(const char *path, const char *sql);

#endif
