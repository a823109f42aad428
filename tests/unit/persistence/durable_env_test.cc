// durable_env_test.cc - what a file says after a failure.
#include <csetjmp>
#include <cstdarg>
#include <cstddef>
#include <cstdint>
#include <memory>
extern "C" {
#include <cmocka.h>
}

#include "persistence/durable_env.h"
#include "persistence/fault_env.h"

namespace {

struct Disk {
    gr_fault_env *fault = gr_fault_env_new();
    greenroom::DurableEnv env{static_cast<leveldb::Env *>(gr_fault_env_leveldb(fault))};
    ~Disk() { gr_fault_env_free(&fault); }
    void FailNext() { gr_fault_env_fail_at(fault, gr_fault_env_operations(fault) + 1, 1); }
    std::unique_ptr<leveldb::WritableFile> Open(const char *name)
    {
        leveldb::WritableFile *file = nullptr;
        bool opened = env.NewWritableFile(name, &file).ok();
        assert_true(opened);
        return std::unique_ptr<leveldb::WritableFile>(file);
    }
};

void a_file_takes_nothing_after_a_failed_append(void **)
{
    Disk disk;
    auto file = disk.Open("/store/MANIFEST-000001");
    assert_true(file->Append("header ").ok());
    disk.FailNext();
    assert_false(file->Append("payload").ok());
    assert_false(file->Append("the next record").ok());
    assert_false(file->Flush().ok());
    assert_false(file->Sync().ok());
    assert_false(file->Close().ok());
    uint64_t size = 0;
    assert_true(disk.env.GetFileSize("/store/MANIFEST-000001", &size).ok());
    assert_int_equal(size, 7);
    assert_true(disk.Open("/store/MANIFEST-000002")->Append("header ").ok());
}

void a_file_takes_nothing_after_a_failed_sync(void **)
{
    Disk disk;
    auto file = disk.Open("/store/000003.log");
    assert_true(file->Append("record").ok());
    disk.FailNext();
    assert_false(file->Sync().ok());
    assert_false(file->Append("record").ok());
    assert_false(file->Sync().ok());
}

void a_file_whose_name_may_not_last_is_not_opened(void **)
{
    Disk disk;
    leveldb::WritableFile *file = nullptr;
    gr_fault_env_fail_at(disk.fault, 2, 1);               // the sync of its directory
    assert_false(disk.env.NewWritableFile("/store/000003.log", &file).ok());
    assert_null(file);
}

}  // namespace

int main()
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_file_takes_nothing_after_a_failed_append),
        cmocka_unit_test(a_file_takes_nothing_after_a_failed_sync),
        cmocka_unit_test(a_file_whose_name_may_not_last_is_not_opened),
    };
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}
